"""What a training run has been through, earlier attempts included: its log, its time, where it was taken up again."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rope_spectra.training.trainer import LogRow

HEADER = "step,loss,lr,tokens,tokens_per_s"


class History:
    """Starts its clock when it is made."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        self.resumed_at: list[int] = []
        self._earlier = {"total": 0.0, "training": 0.0}
        self._began = time.perf_counter()
        self._training_began: float | None = None

    def take_up(self, state: dict[str, Any], step: int) -> None:
        """Add what an earlier attempt has been through; this one goes on at `step`."""
        from rope_spectra.training.trainer import LogRow

        self.rows = [LogRow(**row) for row in state["rows"]]
        self.resumed_at = [*state["resumed_at"], step]
        self._earlier = state["seconds"]

    def start_training(self) -> None:
        """The preparations are over."""
        self._training_began = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Wall time of all attempts up to now: in all, and within the training loop."""
        now = time.perf_counter()
        training = now - self._training_began if self._training_began is not None else 0.0
        return {
            "total": self._earlier["total"] + now - self._began,
            "training": self._earlier["training"] + training,
        }

    def state(self) -> dict[str, Any]:
        """As plain values, for the checkpoint."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "resumed_at": self.resumed_at,
            "seconds": self.seconds(),
        }

    def csv(self) -> str:
        """train.csv; repr keeps every digit."""
        lines = [
            f"{row.step},{row.loss!r},{row.lr!r},{row.tokens},{row.tokens_per_s:.1f}"
            for row in self.rows
        ]
        return "\n".join([HEADER, *lines]) + "\n"
