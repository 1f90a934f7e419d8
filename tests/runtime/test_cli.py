"""What every command says: never a control character that a file holds."""

from pathlib import Path
from typing import Any

import pytest

from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError, or_exit

EVIL = "\x1b]0;pwned\x07\u202e"


def fail(_: Any = None) -> None:
    raise UserError(f"a.json: unknown {EVIL}")


def test_an_error_that_quotes_a_file_is_shown_and_logged_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "a.log"
    with pytest.raises(SystemExit):
        cli.run(lambda: fail(cli.parse(cli.parser("doc"), ["--log", str(log)])))
    for text in (capsys.readouterr().err, log.read_text()):
        assert text.endswith("error: a.json: unknown \\x1b]0;pwned\\x07\\u202e\n")


def test_an_error_in_the_snakefile_too() -> None:
    with pytest.raises(SystemExit, match=r"a.json: unknown \\x1b]0;pwned\\x07\\u202e$"):
        or_exit(fail)
