"""Training curves for TensorBoard, read back as TensorBoard reads them."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rope_spectra.runtime.errors import UserError
from rope_spectra.training import tensorboard
from rope_spectra.training.run import LogRow


def row(step: int) -> LogRow:
    return LogRow(step, 6.0 * math.exp(-step / 50), 1e-3, (step + 1) * 1024, 9000.0 + step)


def write(folder: Path, rows: range, start: int = 0) -> None:
    with tensorboard.writer(folder, True, start=start) as curve:
        for step in rows:
            curve.add(row(step))


def read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def steps(folder: Path) -> list[int]:
    return [event.step for event in read(folder).Scalars("loss")]


def test_tensorboard_reads_loss_learning_rate_and_speed(tmp_path: Path) -> None:
    write(tmp_path, range(0, 100, 10))
    accumulator = read(tmp_path)
    assert set(accumulator.Tags()["scalars"]) == {"loss", "lr", "tokens_per_s"}
    for tag in ("loss", "lr", "tokens_per_s"):
        events = accumulator.Scalars(tag)
        assert [event.step for event in events] == list(range(0, 100, 10))
        assert [event.value for event in events] == pytest.approx(
            [getattr(row(event.step), tag) for event in events], rel=1e-6
        )


def test_a_curve_can_be_read_while_it_grows(tmp_path: Path) -> None:
    with tensorboard.writer(tmp_path, True) as curve:
        accumulator = read(tmp_path)
        for step in range(3):
            curve.add(row(step))
            accumulator.Reload()
            assert len(accumulator.Scalars("loss")) == step + 1


def test_a_resumed_run_continues_its_curve_with_every_step_once(tmp_path: Path) -> None:
    """The attempt got to step 60 and was resumed from the state of step 41."""
    write(tmp_path, range(0, 70, 10))
    early = [event.wall_time for event in read(tmp_path).Scalars("loss") if event.step <= 40]
    write(tmp_path, range(50, 100, 10), start=41)
    events = read(tmp_path).Scalars("loss")
    assert [event.step for event in events] == list(range(0, 100, 10))
    assert [event.wall_time for event in events][: len(early)] == early


def test_half_a_record_of_a_killed_process_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, range(0, 40, 10))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    write(tmp_path, range(30, 50, 10), start=30)
    assert steps(tmp_path) == [0, 10, 20, 30, 40]


def test_a_fresh_run_replaces_the_curve_of_the_old_one(tmp_path: Path) -> None:
    write(tmp_path, range(0, 100, 10))
    write(tmp_path, range(0, 30, 10))
    assert steps(tmp_path) == [0, 10, 20]


def test_a_running_tensorboard_follows_a_resumed_run(tmp_path: Path) -> None:
    write(tmp_path, range(0, 70, 10))
    accumulator = read(tmp_path)
    write(tmp_path, range(50, 100, 10), start=41)
    accumulator.Reload()
    assert [event.step for event in accumulator.Scalars("loss")] == list(range(0, 100, 10))


@pytest.mark.parametrize("enabled", [False, "auto"])
def test_nothing_is_written_where_it_is_off_or_not_installed(
    tmp_path: Path, monkeypatch, enabled: bool | str
) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda _: None)
    with tensorboard.writer(tmp_path / "curve", enabled) as curve:
        curve.add(row(0))
    assert not list(tmp_path.iterdir())


def test_asked_for_and_not_installed_is_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda _: None)
    with (
        pytest.raises(UserError, match=r"training\.tensorboard: true needs the package"),
        tensorboard.writer(tmp_path, True),
    ):
        pass


def test_writing_imports_neither_tensorflow_nor_torchs_writer(tmp_path: Path) -> None:
    """A tensorflow that fails when it is imported stands in the path."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')")
    code = (
        "import json, sys; from pathlib import Path; from types import SimpleNamespace as Row\n"
        "from rope_spectra.training import tensorboard\n"
        "with tensorboard.writer(Path(sys.argv[1]), True) as curve:\n"
        "    curve.add(Row(step=0, loss=1.0, lr=0.1, tokens_per_s=5.0))\n"
        "heavy = ('tensorflow', 'torch', 'grpc')\n"
        "print(json.dumps([name for name in heavy if name in sys.modules]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "curve")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    assert steps(tmp_path / "curve") == [0]
