"""A published file is whole or absent, and a failed write leaves what was there before."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rope_spectra.artifacts import files
from rope_spectra.runtime.errors import UserError
from support import small_experiment


def test_files_of_one_block_appear_together(tmp_path: Path) -> None:
    first = tmp_path / "first"
    second = tmp_path / "second"
    for path in (first, second):
        path.write_text("old")
    with pytest.raises(OSError, match="second"), files.atomic_all(first, second) as (a, b):  # noqa: PT012
        a.write_text("new")
        raise OSError(28, "No space left on device", str(b))
    assert [path.read_text() for path in (first, second)] == ["old", "old"]
    with files.atomic_all(first, second) as temporaries:
        for path in temporaries:
            path.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    assert [path.read_text() for path in (first, second)] == ["new", "new"]


def test_json_that_is_nested_too_deep_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(UserError, match=r"run.json: not valid JSON \(maximum recursion depth"):
        files.read_json(path)


def test_an_open_file_stays_readable_while_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    files.write_text(path, "old, and all of it")
    with path.open() as reader:
        files.write_text(path, "new")
        assert reader.read() == "old, and all of it"
    assert path.read_text() == "new"


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    """The next writer of a file removes what a killed process of this machine left of it."""
    code = "import os, sys; from pathlib import Path\nfrom rope_spectra.artifacts import files\n"
    code += (
        "with files.atomic(Path(sys.argv[1])) as t:\n t.write_text('half'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "cache.npy")])
    assert killed.returncode == -9
    assert len(list(tmp_path.glob("cache.npy.tmp.*"))) == 1
    other = tmp_path / "cache.npy.tmp.another-host.1"
    other.write_text("still being written")
    files.write_text(tmp_path / "cache.npy", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.npy", other.name]


@pytest.fixture
def set_umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_umask_decides_who_may_read_a_file(
    set_umask: Callable[[int], int], umask: int, mode: int, tmp_path: Path
) -> None:
    set_umask(umask)
    files.write_text(tmp_path / "text", "for all that the umask lets read")
    with files.atomic(tmp_path / "weights") as temporary:
        save_file({"ones": torch.ones(2)}, temporary)  # makes a file of mode 600
    assert modes(tmp_path) == {"text": oct(mode), "weights": oct(mode)}


def test_every_file_of_an_experiment_has_the_mode_of_the_umask(
    set_umask: Callable[[int], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_umask(0o027)
    monkeypatch.chdir(tmp_path)
    small_experiment.make_experiment()
    found = modes(tmp_path)
    assert "results/small/geo/seed1/model.safetensors" in found
    assert {name: mode for name, mode in found.items() if mode != "0o640"} == {}


def synced_folders(monkeypatch: pytest.MonkeyPatch, error: int | None = None) -> list[Path]:
    """Folders in the order in which they are synced from now on; or that fails with `error`."""
    folders = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        if not path.is_dir():
            return fsync(descriptor)
        folders.append((path, sorted(file.name for file in path.iterdir())))
        if error:
            raise OSError(error, os.strerror(error))
        return fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    return folders


def test_the_folder_is_synced_once_the_names_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = synced_folders(monkeypatch)
    with files.atomic_all(tmp_path / "a", tmp_path / "b") as temporaries:
        for path in temporaries:
            path.write_text("new")
    assert folders == [(tmp_path, ["a", "b"])]


def test_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems refuse to sync a folder, which is no failing disk; a failing disk is."""
    synced_folders(monkeypatch, errno.EINVAL)
    files.write_text(tmp_path / "table.csv", "new")
    monkeypatch.undo()
    synced_folders(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error") as caught:
        files.write_text(tmp_path / "table.csv", "newer")
    assert caught.value.filename == str(tmp_path)


@pytest.mark.parametrize("number", ["own", "of a dead process"])
def test_a_folder_is_written_over_what_a_killed_process_has_left(
    tmp_path: Path, number: str
) -> None:
    """In a container the next process often has the number of the killed one."""
    process = os.getpid() if number == "own" else 2**22 + 1
    left = files.temporary_of(tmp_path / "out")
    left = left.with_name(f"{left.name.rpartition('.')[0]}.{process}")
    left.mkdir()
    (left / "half").touch()
    with files.atomic_folder(tmp_path / "out") as folder:
        (folder / "whole").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "whole"]
