"""Mistakes in settings in words a user can act on: `training.tiny.learning_rate: '6e-4' is text, not a number`."""

from collections.abc import Iterator

from pydantic import ValidationError


def in_words(error: ValidationError) -> Iterator[str]:
    """One line per mistake: the key's path, what is wrong, what would be right."""
    for mistake in error.errors():
        path = ".".join(map(str, mistake["loc"]))
        yield f"{path}: {mistake['msg']}"
