"""Modules that are imported at their first use.

The Snakefile is read anew for every job, so what it imports has to be light.
"""

from importlib import import_module
from typing import Any


class Lazy:
    """Stands for a module until something of it is used.

    if TYPE_CHECKING:
        import numpy as np
    else:
        np = Lazy("numpy")
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
