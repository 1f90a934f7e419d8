"""The published experiment once more, written from the protocol alone, for clarity and not speed.

It shares no code with the project. Attention is spelled out with a mask, rows are fed as
row[:-1] -> row[1:], the optimizer is written by hand.
"""

import math

import torch
from torch import nn


def geometric(head_dim, theta):
    return 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)


def anchored_poly(head_dim, theta, p, omf):
    pairs = head_dim // 2
    geo = geometric(head_dim, theta)
    log_a, log_b = math.log(geo[0]), math.log(omf * geo[-1])
    t = torch.arange(pairs, dtype=torch.float64) / (pairs - 1)
    return torch.exp(log_a + t**p * (log_b - log_a))


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.weight


class Layer(nn.Module):
    def __init__(self, hidden, heads, ffn):
        super().__init__()
        self.heads = heads
        self.norm1 = Norm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.norm2 = Norm(hidden)
        self.gate = nn.Linear(hidden, ffn, bias=False)
        self.up = nn.Linear(hidden, ffn, bias=False)
        self.down = nn.Linear(ffn, hidden, bias=False)

    def split_heads(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x, omega):
        q, k, v = (self.split_heads(part) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        scores = turned(q, omega) @ turned(k, omega).transpose(-1, -2) / math.sqrt(q.shape[-1])
        length = x.shape[1]
        future = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
        attended = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))


def turned(x, omega):
    """Each pair as a complex number (first half real, second imaginary), times e^(i omega p)."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * omega.double()[None]
    z = torch.complex(x[..., :half].double(), x[..., half:].double()) * torch.polar(
        torch.ones_like(angle), angle
    )
    return torch.cat((z.real, z.imag), dim=-1).to(x.dtype)


class Reference(nn.Module):
    def __init__(self, hidden, layers, heads, ffn, vocab, omega):
        super().__init__()
        self.emb = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList([Layer(hidden, heads, ffn) for _ in range(layers)])
        self.norm = Norm(hidden)
        self.head = nn.Linear(hidden, vocab, bias=False)
        self.head.weight = self.emb.weight
        self.omega = omega
        for module in children_first(self):
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.data.normal_(std=0.02)

    def forward(self, ids):
        x = self.emb(ids)
        for layer in self.layers:
            x = layer(x, self.omega)
        return self.head(self.norm(x))

    def loss(self, rows):
        logits = self(rows[:, :-1])
        return nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1)
        )


def children_first(module):
    for child in module.children():
        yield from children_first(child)
    yield module


def train(model_arguments, tokens, seed, seq_len, batch, peak, accumulate=1):
    """Returns the model and its loss at every step."""
    torch.manual_seed(seed)
    model = Reference(**model_arguments)
    torch.manual_seed(seed)
    count = len(tokens) // seq_len
    order = torch.randperm(count)
    rows = torch.tensor(tokens[: count * seq_len], dtype=torch.long).reshape(count, seq_len)
    steps = count // batch
    parameters = list(model.parameters())
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    losses = []
    for step in range(steps):
        chosen = rows[order[step * batch : (step + 1) * batch]]
        parts = chosen.chunk(accumulate)
        for part in parts:
            (model.loss(part) / accumulate).backward()
        with torch.no_grad():
            losses.append(sum(model.loss(part).item() for part in parts) / accumulate)
            adamw(parameters, first, second, step, rate(step, steps, peak))
    return model, losses


def rate(step, steps, peak):
    warmup = int(0.02 * steps)
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def adamw(parameters, first, second, step, lr):
    norm = math.sqrt(sum((p.grad.double() ** 2).sum().item() for p in parameters))
    clip = min(1.0, 1.0 / (norm + 1e-6))
    for p, m, v in zip(parameters, first, second, strict=True):
        gradient = p.grad * clip
        p.mul_(1 - lr * 0.1)
        m.mul_(0.9).add_(0.1 * gradient)
        v.mul_(0.95).add_(0.05 * gradient**2)
        p.sub_(lr * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.95 ** (step + 1))).sqrt() + 1e-8))
        p.grad = None


@torch.no_grad()
def first_chunks(model, tokens, length, chunks=10):
    """The published number: exp(mean over chunks of the mean chunk loss)."""
    ids = torch.tensor(tokens, dtype=torch.long)
    losses = [model.loss(ids[None, i * length : (i + 1) * length]).item() for i in range(chunks)]
    return math.exp(sum(losses) / chunks)
