"""The reader's side of an export: transformers alone, in a process without this project.

    python tests/support/read_export.py request.json answers.json

request.json: {name: {"folder", "tokens": ids to score, "lengths", "prompt": ids, "text",
"code": Python to run in the folder}}. answers.json has by name: the rotary frequencies after
loading and after the longest text, files of logits, the greedy continuation, perplexities, the text
as ids and back, what the code printed.
"""

import contextlib
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

NEW_TOKENS = 24


def hexadecimal(tensor: torch.Tensor) -> list[str]:
    return [float(value).hex() for value in tensor]


@torch.inference_mode()
def first_chunks(model: Any, tokens: list[int], length: int, chunks: int = 4) -> float:
    """exp of the mean over chunks of a chunk's mean loss (docs/protocol.md section 6)."""
    losses = []
    count = min(chunks, len(tokens) // length)
    for start in range(0, count * length, length):
        chunk = torch.tensor([tokens[start : start + length]])
        logits = model(chunk[:, :-1]).logits[0]
        nll = torch.nn.functional.cross_entropy(logits, chunk[0, 1:], reduction="none")
        losses.append(nll.double().mean().item())
    return math.exp(sum(losses) / len(losses))


@torch.inference_mode()
def read(name: str, request: dict[str, Any], output: Path) -> dict[str, Any]:
    folder = Path(request["folder"])
    lengths = request["lengths"]
    model = AutoModelForCausalLM.from_pretrained(folder)
    rotary = model.model.rotary_emb
    answer: dict[str, Any] = {
        "dtype": str(model.dtype),
        "loaded": hexadecimal(rotary.inv_freq),
        "logits": {},
    }
    for length in lengths:
        path = output / f"{name}.{length}.pt"
        torch.save(model(torch.tensor([request["tokens"][:length]])).logits[0], path)
        answer["logits"][length] = str(path)
    answer["after"] = hexadecimal(rotary.inv_freq)
    prompt = torch.tensor([request["prompt"]])
    text = model.generate(
        prompt,
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        use_cache=True,
    )
    answer["greedy"] = text[0, len(request["prompt"]) :].tolist()
    answer["ppl"] = {length: first_chunks(model, request["tokens"], length) for length in lengths}
    if (folder / "tokenizer.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = tokenizer(request["text"]).input_ids
        answer |= {"ids": ids, "text": tokenizer.decode(ids)}
    if "code" in request:
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(request["code"], {})
        answer["printed"] = printed.getvalue()
    return answer


def main() -> None:
    requests = json.loads(Path(sys.argv[1]).read_text())
    answers = Path(sys.argv[2])
    result = {name: read(name, request, answers.parent) for name, request in requests.items()}
    # Nothing of this project may have helped transformers to read the export.
    assert not any(name.split(".")[0] == "rope_spectra" for name in sys.modules)
    answers.write_text(json.dumps(result))


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
