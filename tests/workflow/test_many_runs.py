"""A hundred runs through the workflow: none is lost, and no memory grows with their number."""

import json
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from rope_spectra.artifacts import seal
from support.checkout import SNAKEMAKE, fresh_checkout
from support.small_experiment import EXPERIMENT

RUNS = 100
SPECTRA = ["geo", "poly"]
CONFIG = EXPERIMENT | {
    "run": ["many"],
    "experiments": {
        "many": EXPERIMENT["experiments"]["small"]
        | {"spectra": SPECTRA, "seeds": list(range(RUNS // len(SPECTRA)))}
    },
}
# A leak of half a megabyte a job would pass it.
GROWTH_MB = 40
_MB = 1 << 20


class Memory:
    """The resident memory of Snakemake by the number of finished runs, and the most of each job."""

    def __init__(self, project: Path) -> None:
        self.results = project / "results"
        self.snakemake: dict[int, float] = {}
        self.jobs: dict[int, float] = {}

    def look(self, snakemake: psutil.Process) -> None:
        with suppress(psutil.Error):
            done = len(list(self.results.glob("many/*/seed*/run.json")))
            self.snakemake[done] = snakemake.memory_info().rss / _MB
            for process in snakemake.children(recursive=True):
                self._look_at_job(process)

    def _look_at_job(self, process: psutil.Process) -> None:
        with suppress(psutil.Error):
            if "rope_spectra.train" in process.cmdline():
                now = process.memory_info().rss / _MB
                self.jobs[process.pid] = max(self.jobs.get(process.pid, 0.0), now)


@pytest.mark.slow
def test_a_hundred_runs_leave_memory_flat_and_none_is_lost(tmp_path: Path) -> None:
    project = fresh_checkout(tmp_path / "project")
    (project / "config.yaml").write_text(json.dumps(CONFIG))
    memory = Memory(project)
    command = [SNAKEMAKE, "--cores", "2", "--until", "train"]
    with (tmp_path / "said.txt").open("w") as said:
        snakemake = psutil.Popen(command, cwd=project, stdout=said, stderr=said)
        while snakemake.poll() is None:
            memory.look(snakemake)
            time.sleep(0.1)
    assert snakemake.returncode == 0, (tmp_path / "said.txt").read_text()[-3000:]

    records = project.glob("results/many/*/seed*/run.json")
    assert len({seal.read(record)["identity"] for record in records}) == RUNS
    early = next(size for done, size in memory.snakemake.items() if done >= RUNS // 10)
    late = max(memory.snakemake.values())
    peaks = list(memory.jobs.values())
    assert late - early < GROWTH_MB
    assert max(peaks[-RUNS // 10 :]) - max(peaks[: RUNS // 10]) < GROWTH_MB
    print(f"Snakemake {early:.0f} to {late:.0f} MB, jobs {min(peaks):.0f} to {max(peaks):.0f} MB")
