"""This process among those that torchrun has started to train one run together.

RANK and WORLD_SIZE alone say nothing: another program may have left them in the environment.
"""

import os


def is_rank() -> bool:
    """True in one of several processes that train a run together."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_main_process() -> bool:
    """True in the one process that speaks for its run, and reads and writes its files."""
    return not is_rank() or os.environ["RANK"] == "0"
