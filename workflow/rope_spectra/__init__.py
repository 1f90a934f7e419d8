"""rope-spectra: the rotary frequencies that degrade least beyond the training length.

In Python, in the folder that has results/:

    import rope_spectra as rs

    rs.runs()                                        # a table of the runs
    run = rs.load("results/demo/geo_500k/seed42")    # run.model, run.scores, run.nll, ...
    rs.spectrum("hybrid_a0.2_t100k").wavelengths
    rs.plot.nll_by_position(run)

docs/outputs.md names every file, column and array.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["load", "plot", "runs", "spectrum"]

# By name, the module of rope_spectra.api that has it.
_FUNCTIONS = {"load": "runs", "runs": "runs", "spectrum": "spectrum"}


def __getattr__(name: str) -> Any:
    """Imports a part of the interface when it is first used: `import rope_spectra` stays light."""
    if name == "plot":
        return import_module("rope_spectra.api.plot")
    if name in _FUNCTIONS:
        return getattr(import_module(f"rope_spectra.api.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
