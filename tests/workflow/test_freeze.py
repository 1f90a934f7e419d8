"""Frozen settings appear whole or not at all, and cost a study of many runs next to nothing."""

import json
import subprocess
import sys
from pathlib import Path

from support.by_hand import step


def test_the_text_is_written_byte_for_byte(tmp_path: Path) -> None:
    text = '{"name": "it\'s $HOME; -n\\\\n", "of": "né"}'
    done = step("freeze", f"--text={text}", "--output", tmp_path / "new/options.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "new/options.json").read_bytes() == f"{text}\n".encode()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["options.json"]


def test_a_folder_that_is_none_ends_it_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    done = step("freeze", "--text", "{}", "--output", tmp_path / "file/options.json")
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'file'}: File exists\n"


def test_it_imports_nothing_that_takes_time() -> None:
    slow = {"pydantic", "numpy", "psutil", "yaml", "rich", "torch"}
    code = (
        "import json, sys, rope_spectra.freeze\n"
        f"print(json.dumps(sorted({slow!r} & sys.modules.keys())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
