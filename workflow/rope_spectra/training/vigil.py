"""Notices a rank that does not answer: it was stopped, or its machine hangs.

In each rank a thread counts in the launcher's store while the rank is alive, also through a long
compilation or read, and looks at the counts of the others. When one stands still for too long, the
rest end and say which. Otherwise they would wait for it in their next exchange for half an hour,
and the error would then be theirs.
"""

import json
import os
import signal
import socket
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

# The exit status of a rank that ends because of another one, whose name is in its error file.
A_RANK_IS_SILENT = 75
# What a rank adds to its count when it is done: it may be silent from then on.
_DONE = 1 << 40
_ROUND_S = 1.0


def connect(timeout: timedelta) -> Any:
    """The launcher's store; reading a value from it waits for that long."""
    # mypy does not see where torch takes this public class from, so it has no type here.
    return dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=timeout
    )


class Vigil:
    """Watches over the other ranks of this run, from `begin` until `end`.

    All of them have to be made before any begins.
    """

    def __init__(self, rank: int, size: int, timeout_s: float) -> None:
        self._rank = rank
        self._size = size
        # In rounds, not in seconds: if the whole machine has slept, nobody is to blame.
        self._round_s = min(_ROUND_S, timeout_s / 10)
        self._patience = round(timeout_s / self._round_s)
        self._rounds = 0
        self._ended = threading.Event()
        self._store = connect(timedelta(seconds=timeout_s))
        self._store.set(f"process {rank}", json.dumps([socket.gethostname(), os.getpid()]))
        self._thread = threading.Thread(target=self._watch_ranks, daemon=True)

    def begin(self) -> None:
        """Counts from now on, and expects the same of the others."""
        self._thread.start()
        if os.environ["GROUP_RANK"] != "0":
            # The store is on the first machine. If that hangs, so does whoever asks the store.
            threading.Thread(target=self._watch_first_machine, daemon=True).start()

    def end(self) -> None:
        """Says that this rank is done, and watches no longer."""
        self._ended.set()
        self._thread.join(self._patience * self._round_s)

    def _watch_ranks(self) -> None:
        others = [rank for rank in range(self._size) if rank != self._rank]
        counts = dict.fromkeys(others, 0)
        silent = dict.fromkeys(others, 0)
        # Without a launcher there is nobody to tell, and its ranks go on.
        with suppress(dist.DistNetworkError):
            while not self._ended.wait(self._round_s):
                self._rounds += 1
                self._store.add(f"alive {self._rank}", 1)
                for rank in others:
                    count = self._store.add(f"alive {rank}", 0)
                    stands_still = count == counts[rank] and count < _DONE
                    silent[rank] = silent[rank] + 1 if stands_still else 0
                    counts[rank] = count
                    if silent[rank] > self._patience:
                        host, pid = json.loads(self._store.get(f"process {rank}"))
                        self._give_up_on(rank, host, pid)
            self._store.add(f"alive {self._rank}", _DONE)

    def _watch_first_machine(self) -> None:
        rounds = silent = 0
        while not self._ended.wait(self._round_s):
            silent = silent + 1 if self._rounds == rounds else 0
            rounds = self._rounds
            if silent > self._patience:
                self._give_up_on(0, os.environ["MASTER_ADDR"])

    def _give_up_on(self, rank: int, host: str, pid: int | None = None) -> None:
        """Ends this process, and the silent one if it is on this machine."""
        seconds = self._patience * self._round_s
        message = (
            f"rank {rank} of {self._size} on {host} has not answered for {seconds:g} s; all were"
            " stopped, the same command resumes from the last checkpoint"
        )
        # The launcher shows the earliest failure, by the time that is given here.
        error = json.dumps({"message": message, "timestamp": 0})
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(error, encoding="utf-8")
        if pid is not None and host == socket.gethostname():
            with suppress(ProcessLookupError):
                # No other signal ends a stopped process; the launcher would first wait for 30 s.
                os.kill(pid, signal.SIGKILL)
        # A thread cannot end its process in another way, and the main thread waits for that rank.
        os._exit(A_RANK_IS_SILENT)
