"""The one kind of error that is the user's to fix."""

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from rope_spectra.runtime.foreign import printable

P = ParamSpec("P")
T = TypeVar("T")


class UserError(Exception):
    """A mistake in the input. Its text is one line: the key, file or argument, and the remedy."""


def or_exit(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls `function`; a UserError ends the program with its text and status 1."""
    try:
        return function(*args, **kwargs)
    except UserError as error:
        sys.exit(printable(str(error)))
