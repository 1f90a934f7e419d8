"""One run on several devices: a process per device, each with its share of every batch (torch DDP).

torchrun's own launcher starts the processes: on this machine (`--processes N`), or on every node of
a Slurm job in which `srun` has started the command once per node. Each process sees one GPU; where
there are none they communicate through gloo on the CPU.
"""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.rank import is_rank
from rope_spectra.training import interruption
from rope_spectra.training.vigil import A_RANK_IS_SILENT, Vigil, connect

_LAUNCHER_NOTICES_WITHIN_S = 60.0
_CONNECTS_WITHIN = timedelta(minutes=5)
_FOREVER = timedelta(days=365)


@dataclass(frozen=True)
class World:
    """This process among those that train one run together."""

    rank: int = 0
    size: int = 1
    vigil: Vigil | None = None

    def share(self, batch_size: int) -> slice:
        """The rows of a batch that are this rank's; all shares in turn are all rows in order."""
        start = self.rank * batch_size // self.size
        stop = (self.rank + 1) * batch_size // self.size
        return slice(start, stop)

    def all_reduce_mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over the ranks, on all of them."""
        if self.size > 1:
            dist.all_reduce(value)
        return value / self.size

    def all_reduce_min(self, value: int, device: torch.device) -> int:
        """The smallest of the ranks' numbers, on all of them."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, device=device)
        dist.all_reduce(shared, dist.ReduceOp.MIN)
        return int(shared)


def call_others(to_train: bool) -> None:
    """Tells the ranks that wait in `is_called` to train, or that there is nothing left to do."""
    if is_rank():
        connect(_CONNECTS_WITHIN).set("called", str(to_train))


def is_called() -> bool:
    """Waits for the main process, which may first wait for another launcher of the same run."""
    called: bytes = connect(_FOREVER).get("called")
    return called == b"True"


def init_process_group(device: torch.device, timeout_minutes: float) -> World:
    """Connects to the other ranks, if there are any.

    From then on a rank that does not answer for that long ends all of them.
    """
    if not is_rank():
        return World()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    watch = Vigil(rank, size, 60 * timeout_minutes)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    watch.begin()
    return World(rank, size, watch)


def destroy_process_group(world: World) -> None:
    """Disconnects from the other ranks at the end."""
    if world.vigil:
        world.vigil.end()
        dist.destroy_process_group()


def wait_for_launcher_after(error: RuntimeError, world: World) -> None:
    """Handles the error of a rank that has lost another one; other errors are raised again.

    When a rank dies, the others fail in their next exchange. Their errors would bury the cause, so
    they wait for the launcher, which says which rank died and ends the rest.
    """
    # gloo reports a closed connection ("... by peer") as a plain RuntimeError.
    has_lost_a_rank = isinstance(error, dist.DistError) or "by peer" in str(error)
    if world.size == 1 or not has_lost_a_rank:
        raise error
    time.sleep(_LAUNCHER_NOTICES_WITHIN_S)
    raise SystemExit(1)


def launch(module: str, arguments: list[str], processes: int) -> None:
    """Runs `python -m module arguments` as that many ranks on this machine.

    In a Slurm job of several nodes it does so on each of them. Returns when all are done. A rank
    that dies stops the others; UserError says which it was.
    """
    # torchrun would set this too, with a warning. The command sets its number of threads itself.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Or torchrun would also hear those that are to be ignored.
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ",".join(s.name for s in interruption.signals())
    rendezvous = slurm_rendezvous(os.environ) or ["--standalone"]
    command = [*rendezvous, f"--nproc_per_node={processes}", "--module", module, *arguments]
    parser = torchrun.get_args_parser()
    # Or torchrun takes our --log for the beginning of one of its own options.
    parser.allow_abbrev = False
    try:
        torchrun.run(parser.parse_args(command))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == A_RANK_IS_SILENT:
            raise UserError(failure.message) from None
        cause = f"exit status {failure.exitcode}, its message is above"
        if failure.exitcode < 0:
            cause = f"signal {-failure.exitcode}"
        raise UserError(
            f"rank {rank} of {processes} died ({cause}); all were stopped, nothing was published"
        ) from None
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None


def slurm_rendezvous(environment: Mapping[str, str]) -> list[str] | None:
    """torchrun's options by which the launchers of a Slurm job connect; None on a single node.

    They meet on the job's first node, at a port that follows from the number of the job, so that
    jobs that share a node do not collide.
    """
    nodes = int(environment.get("SLURM_NNODES", "1"))
    if nodes == 1:
        return None
    job = environment["SLURM_JOB_ID"]
    port = 20_000 + int(job) % 20_000
    # The first host of Slurm's list: gpu[07-09,12] -> gpu07, a1,a2 -> a1.
    host = re.sub(r"\[(\w+).*", r"\1", environment["SLURM_NODELIST"].split(",")[0])
    return [
        f"--nnodes={nodes}",
        "--rdzv_backend=c10d",
        f"--rdzv_id={job}",
        f"--rdzv_endpoint={host}:{port}",
    ]
