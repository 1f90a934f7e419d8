"""AdamW as torch has it, without torch's compiler."""

from inspect import unwrap

import torch


class AdamW(torch.optim.AdamW):
    """torch's own, to the bit and with the same state.

    torch decorates these methods for optimizers inside a compiled graph, where this one never is.
    At their first call the decorators import the compiler, which took 0.9 s of CPU.
    """

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
