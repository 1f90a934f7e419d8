"""A sealed file is read as it was written; one without a seal only where a user may write it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.artifacts import seal
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record, Settings

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")).filter(lambda key: key != "seal"), JSON, max_size=4
    )
)
def test_sealed_content_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "sealed.json"
    seal.write(path, content)
    assert seal.read(path) == content
    path.write_text(seal.dumps(content) + "\n")
    assert seal.read(path) == content


class Lengths(Settings):
    lengths: list[int]


class LengthsRecord(Record):
    lengths: list[int]


def test_settings_are_read_with_and_without_a_seal(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    seal.write(path, {"lengths": [16]})
    assert seal.load_settings(path, Lengths) == Lengths(lengths=[16])
    path.write_text('{"lengths": [16]}')
    assert seal.load_settings(path, Lengths) == Lengths(lengths=[16])
    with pytest.raises(UserError, match=r"evaluation.json: lacks 'seal'"):
        seal.load_record(path, LengthsRecord)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"lengths": [16], "sael": "x"}', "sael"),
        ("{}", "lengths"),
        ('{"lengths": "16"}', "lengths"),
        ("[16]", "evaluation.json"),
    ],
)
def test_a_mistake_in_settings_is_one_line_with_its_key(
    tmp_path: Path, text: str, key: str
) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        seal.load_settings(path, Lengths)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert key in message
    assert message.endswith("; fix it, or delete it to have it made again")
    assert "\n" not in message


def test_sealed_settings_of_another_kind_are_only_to_be_made_again(tmp_path: Path) -> None:
    """Nobody wrote them by hand, and a seal would not survive a fix."""
    path = tmp_path / "evaluation.json"
    seal.write(path, {"widths": [16]})
    with pytest.raises(UserError) as caught:
        seal.load_settings(path, Lengths)
    assert "; delete it to have it made again" in str(caught.value)
