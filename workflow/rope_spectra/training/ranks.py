"""One run on several devices: a process per device, each with its share of every batch (torch DDP).

The processes are started by torchrun's own launcher: on this machine (`--processes N`), or on every node of a Slurm job that
`srun` has started once per node. Each sees one GPU; without GPUs they meet through gloo on the CPU.
"""

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LAUNCHER_NOTICES_WITHIN_S = 60.0


@dataclass(frozen=True)
class World:
    """This process among those that train one run together."""

    rank: int = 0
    size: int = 1

    def share(self, batch_size: int) -> slice:
        """The rows of a batch that are this rank's; together they are all rows in their order."""
        return slice(self.rank * batch_size // self.size, (self.rank + 1) * batch_size // self.size)

    def mean(self, value: "Tensor") -> "Tensor":
        """The mean over the ranks, on all of them."""
        import torch.distributed

        if self.size > 1:
            torch.distributed.all_reduce(value)
        return value / self.size

    def smallest(self, value: int, device: "torch.device") -> int:
        """The smallest of the ranks' numbers, on all of them."""
        import torch.distributed

        if self.size == 1:
            return value
        shared = torch.tensor(value, device=device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MIN)
        return int(shared)


def is_one() -> bool:
    """Whether this process is a rank, that is, was started by the launcher."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first() -> bool:
    """Whether this process is the one that reads and writes the files of its run."""
    return not is_one() or os.environ["RANK"] == "0"


def join(device: "torch.device") -> World:
    """Meet the other ranks, if there are any."""
    if not is_one():
        return World()
    import torch.distributed

    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(torch.distributed.get_rank(), torch.distributed.get_world_size())


def leave(world: World) -> None:
    """Part from the other ranks at the end."""
    if world.size > 1:
        import torch.distributed

        torch.distributed.destroy_process_group()


def wait_for_the_end_after(error: RuntimeError, world: World) -> None:
    """After another rank has died, wait for the launcher to end this one too: it says which died. Other errors are raised on."""
    lost = isinstance(error, _distributed_error()) or "by peer" in str(error)
    if world.size == 1 or not lost:
        raise error
    time.sleep(_LAUNCHER_NOTICES_WITHIN_S)
    raise SystemExit(1)


def _distributed_error() -> type[RuntimeError]:
    import torch.distributed

    return torch.distributed.DistError


def launch(module: str, arguments: list[str], processes: int) -> None:
    """Run `python -m module arguments` as that many ranks on this machine (in a Slurm job of several nodes: on each of them).

    Returns when all are done. A rank that dies stops the others; UserError says which it was.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # else torchrun warns that it sets it; the step sets its threads itself
    meeting = slurm_meeting(dict(os.environ)) or ["--standalone"]
    command = [*meeting, f"--nproc_per_node={processes}", "--module", module, *arguments]
    parser = run.get_args_parser()
    parser.allow_abbrev = (
        False  # or torchrun takes our --log for the beginning of one of its own options
    )
    try:
        run.run(parser.parse_args(command))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise UserError(
            f"rank {rank} of {processes} died ({_cause(failure.exitcode)}); all were stopped, nothing was published"
        ) from None
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None


def _cause(exitcode: int) -> str:
    return (
        f"signal {-exitcode}" if exitcode < 0 else f"exit status {exitcode}, its message is above"
    )


def slurm_meeting(environment: dict[str, str]) -> list[str] | None:
    """How the launchers of a Slurm job find each other: on its first node, at a port that follows from the job's number."""
    nodes, job = int(environment.get("SLURM_NNODES", "1")), environment.get("SLURM_JOB_ID", "")
    if nodes == 1:
        return None
    first = _first_node(environment["SLURM_NODELIST"])
    endpoint = f"{first}:{20_000 + int(job) % 20_000}"
    return [
        f"--nnodes={nodes}",
        "--rdzv_backend=c10d",
        f"--rdzv_id={job}",
        f"--rdzv_endpoint={endpoint}",
    ]


def _first_node(nodes: str) -> str:
    """The first host of Slurm's list: gpu[07-09,12] -> gpu07, a1,a2 -> a1."""
    return re.sub(r"\[(\w+).*", r"\1", nodes.split(",")[0])
