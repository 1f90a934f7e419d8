"""Packs what the code of a commit leaves after mini.yaml; README.md says what for.

python tests/workflow/finished/make.py 183f25a
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from array import array
from pathlib import Path

HERE = Path(__file__).parent
LEFT_OUT = {"figures", "logs", "tensorboard"}


def write_tokens(project: Path) -> None:
    """The token files of the dataset `raw`."""
    for name, count in (("train", 1500), ("validation", 400)):
        tokens = array("H", [(i * i + i // 7) % 61 for i in range(count)])
        (project / f"{name}.bin").write_bytes(tokens.tobytes())


def run(commit: str, project: Path) -> None:
    """Runs mini.yaml with the code of a commit."""
    code = subprocess.run(["git", "archive", commit], cwd=HERE, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(code.stdout)) as archive:
        archive.extractall(project, filter="data")
    write_tokens(project)
    (project / "mini.yaml").write_bytes((HERE / "mini.yaml").read_bytes())
    snakemake = Path(sys.executable).with_name("snakemake")
    command = [snakemake, "--cores", "1", "--configfile", "mini.yaml"]
    subprocess.run(command, cwd=project, check=True)


def pack(project: Path, target: Path) -> None:
    """Packs the results of a project and their metadata; equal files give an equal archive."""
    paths = [
        path
        for folder in ("results", ".snakemake/metadata")
        for path in sorted((project / folder).rglob("*"))
        if path.is_file() and not LEFT_OUT & set(path.parts)
    ]
    with tarfile.open(target, "w:xz", format=tarfile.PAX_FORMAT, preset=9) as archive:
        for path in paths:
            entry = archive.gettarinfo(path, str(path.relative_to(project)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            # Snakemake compares times, to the nanosecond; a float has a millionth of a second.
            entry.mtime = round(path.stat().st_mtime, 6)
            with path.open("rb") as file:
                archive.addfile(entry, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", help="the commit whose code runs; the archive has its name")
    commit = parser.parse_args().commit
    with tempfile.TemporaryDirectory() as folder:
        run(commit, Path(folder))
        pack(Path(folder), HERE / f"{commit}.tar.xz")


if __name__ == "__main__":
    main()
