"""What every command says: never a control character that a file holds."""

from pathlib import Path
from typing import Any

import pytest

from rope_spectra.runtime import cli, heartbeat
from rope_spectra.runtime.errors import UserError, or_exit

# Control characters, and a byte of a file's name that is no UTF-8.
EVIL = "\x1b]0;pwned\x07\u202e\udcff"
SHOWN = r"a.json: unknown \x1b]0;pwned\x07\u202e\udcff"


def fail(_: Any = None) -> None:
    raise UserError(f"a.json: unknown {EVIL}")


def test_an_error_that_quotes_a_file_is_shown_and_logged_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "a.log"
    with pytest.raises(SystemExit):
        cli.run(lambda: fail(cli.parse(cli.parser("doc"), ["--log", str(log)])))
    for text in (capsys.readouterr().err, log.read_text()):
        assert text.endswith(f"error: {SHOWN}\n")
    beat = heartbeat.read(log)
    assert beat is not None
    assert (beat.state, beat.error) == ("failed", SHOWN)


def test_an_error_in_the_snakefile_too() -> None:
    with pytest.raises(SystemExit) as ended:
        or_exit(fail)
    assert ended.value.code == SHOWN


@pytest.mark.parametrize(("ours", "speaks"), [(False, True), (True, False)])
def test_ranks_left_over_in_the_environment_silence_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: bool, speaks: bool
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    if ours:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    log = tmp_path / "a.log"
    cli.parse(cli.parser("doc"), ["--log", str(log)])
    cli.log.info("at work")
    assert ("at work" in log.read_text()) == speaks
