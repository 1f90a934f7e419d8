"""Equal bits for equal seeds, in two parts: before torch is imported, and after."""

import os


def pin_arithmetic() -> None:
    """Makes MKL compute the same bits whatever the alignment of memory and the load of the machine.

    Call it before torch is imported, because MKL reads these variables when it is loaded. Without
    it 2 of about 50 repeated trainings of the demo ended with other bits (2 threads); with it none
    of 6 did so far.
    """
    # A user who sets these variables knows better.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    os.environ.setdefault("MKL_DYNAMIC", "FALSE")


def make_deterministic() -> None:
    """Makes torch compute equal bits for equal seeds on one machine and build.

    From then on an operation that has no deterministic kernel raises RuntimeError.
    """
    # Not at the top, because pin_arithmetic comes before torch.
    import torch

    # cuBLAS is deterministic only with a workspace of fixed size; it reads this at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As torch.use_deterministic_algorithms(True), which takes 2 s more, because it loads the
    # compiler to set a flag there, also where nothing is compiled.
    torch.set_deterministic_debug_mode("error")
    # Filling what torch.empty returns would only show code that reads it unwritten; it costs time.
    # (torch replaces that module by an object with this property, which mypy cannot see.)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # cuDNN would time its algorithms and take the fastest, which may be another one in each run.
    torch.backends.cudnn.benchmark = False
