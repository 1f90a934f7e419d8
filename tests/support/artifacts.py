"""Results as a run leaves them, and the two scripts that publish and fetch results."""

import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from support.checkout import ROOT

RUN = "results/exp/geo_500k/seed1"
SMALL = {  # in the order in which a run writes them, a second apart
    "results/data/toy/train.json": '{"tokens": 10}\n',
    "results/exp/evaluation.json": "{}\n",
    f"{RUN}/config.json": "{}\n",
    f"{RUN}/train.csv": "step,loss\n1,6.2\n",
    f"{RUN}/run.json": '{"identity": "1"}\n',
    "results/logs/train/exp/geo_500k/seed1.log": "12:00:00 done: 3 %\n",
    f"{RUN}/eval.csv": "length,ppl\n64,9.5\n",
    "results/exp/runs.csv": "experiment,spectrum,seed,ppl\nexp,geo_500k,1,9.5\n",
    "results/exp/summary.md": "# exp\n",
    "results/exp/figures/spectra.svg": "<svg/>\n",
    "results/found/round0/candidates.json": "{}\n",
    "results/found/round0/c00/seed1/run.json": '{"identity": "2"}\n',
    "results/found/confirmation/figures/spectra.svg": "<svg/>\n",
    "results/found/best.yaml": "spectra: {}\n",
    "results/summary.csv": "experiment,spectrum\nexp,geo_500k\n",
}
BIG = (
    "model.safetensors",
    "hf/model.safetensors",
    "hf/config.json",
    "checkpoint/state.json",
    "history.pt",
)


def arrays(**values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)
    return buffer.getvalue()


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def small_results(folder: Path) -> Path:
    """Results of one run, and files next to them that must never leave."""
    write(
        folder,
        SMALL
        | {f"{RUN}/eval.npz": arrays(**{"none/64/nll": np.ones((2, 3)), "bytes": np.ones(2)})},
    )
    for second, name in enumerate(SMALL, 1_700_000_000):
        os.utime(folder / name, (second, second))
    write(
        folder, {f"{RUN}/{name}": "{}" for name in BIG} | {"results/data/toy/train.npy": "tokens"}
    )
    return folder


def checkout(folder: Path) -> Path:
    """A folder with the scripts, as far as they go."""
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    return folder


def call(
    folder: Path, script: str, *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [folder / "scripts" / script, *arguments]
    variables = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GIT_", "A100_", "SSH"))
    }
    done = subprocess.run(
        list(map(str, command)),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        env=variables | environment,
    )
    assert "unbound variable" not in done.stderr
    return done


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The last line, which says what is wrong; git, ssh and rsync may have spoken before it."""
    assert done.returncode == 1, done.stdout + done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: "), done.stderr
    return last.removeprefix("error: ")


def tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Every path in a folder with its time and content."""
    paths = sorted(folder.rglob("*"))
    return {
        str(p.relative_to(folder)): (p.lstat().st_mtime_ns, p.read_bytes() if p.is_file() else None)
        for p in paths
    }
