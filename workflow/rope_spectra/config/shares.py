"""The part of the training rows that have the retrieval probe between their text.

A number for its sentence, a mapping for its tasks.
"""

import math
from typing import Annotated, Any, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from rope_spectra.data.base import TASKS, Task
from rope_spectra.runtime.settings import Section

_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


def _is_zero(share: Any) -> bool:
    return bool(share == 0)


def _mistake(text: str) -> PydanticCustomError:
    return PydanticCustomError("mistake", "{text}", {"text": text})


class TaskShares(Section):
    """Parts of the training rows that hold a task of the retrieval probe; together at most 1."""

    key: _Share = Field(0.0, exclude_if=_is_zero)
    """Rows in which a key has a value; the key is asked for"""
    keys: _Share = Field(0.0, exclude_if=_is_zero)
    """Rows with several keys, one of which is asked for"""
    item: _Share = Field(0.0, exclude_if=_is_zero)
    """Rows with a list, one of whose places is asked for"""
    variable: _Share = Field(0.0, exclude_if=_is_zero)
    """Rows in which variables are set and handed on, and asked for"""
    pairs: _Share = Field(0.0, exclude_if=_is_zero)
    """Rows with pairs of words, the second one of which is asked for"""

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        total = math.fsum(self.by_task.values())
        if total == 0:
            raise _mistake("no task has a share; give one of them a share, or leave the key out")
        if total > 1 + 1e-9:
            raise _mistake(f"the shares add up to {total:g}; lower them to 1 at most")
        return self

    @property
    def by_task(self) -> dict[Task, float]:
        """The tasks that have a share, always in the same order."""
        shares = {task: getattr(self, task) for task in TASKS}
        return {task: share for task, share in shares.items() if share}


def _kind_of_share(value: Any) -> str:
    return "tasks" if isinstance(value, dict | TaskShares) else "number"


RetrievalShare: TypeAlias = Annotated[
    Annotated[_Share, Tag("number")] | Annotated[TaskShares, Tag("tasks")],
    Discriminator(_kind_of_share),
]
