"""Where text comes from: the sources a data set can name, each read as a stream of documents in file order.

Memory stays flat however large the corpus; only one document (for text files without a separator: one file) is held at a time.
"""

import codecs
import glob
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.layout import SPLITS
from rope_spectra.data import synthetic
from rope_spectra.runtime.errors import UserError

_BLOCK = 1 << 20

_TYPE_NAMES = {
    str: "text",
    int: "a whole number",
    list: "a list",
    dict: "a mapping",
    NoneType: "null",
}
_SOURCE_KEYS: dict[str, dict[str, tuple[type, ...]]] = {
    "hub": {"path": (str,), "revision": (str, NoneType), "text_column": (str,), "split": (str,)},
    "text": {"files": (list,), "separator": (str, NoneType), "text_column": (str,)},
    "synthetic": {"seed": (int,), "split": (str,)},
    "tokens": {"file": (str,), "vocab_size": (int,)},
}


def check_keys(value: Any, where: str, types: dict[str, tuple[type, ...]]) -> None:
    """Raise a UserError unless `value` is a mapping of exactly these keys, each of one of its types."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: {value!r} should be a mapping with the keys {', '.join(types)}")
    for key in sorted(value.keys() - types.keys()):
        raise UserError(f"{where}: unknown key '{key}'; the keys are {', '.join(types)}")
    for key, allowed in types.items():
        if key not in value:
            raise UserError(f"{where}: key '{key}' is missing")
        if type(value[key]) not in allowed:
            raise UserError(
                f"{where}: '{key}' is {value[key]!r}; it should be {' or '.join(_TYPE_NAMES[t] for t in allowed)}"
            )


def check_source(source: Any, where: str) -> None:
    """Raise a UserError unless `source` is the settings of one of the four kinds of source."""
    kind = source.get("source") if isinstance(source, dict) else None
    if kind not in _SOURCE_KEYS:
        raise UserError(
            f"{where}: 'source' is {kind!r}; it should be one of {', '.join(_SOURCE_KEYS)}"
        )
    check_keys(source, where, {"source": (str,), **_SOURCE_KEYS[kind]})
    if kind == "text" and not (
        source["files"] and all(type(pattern) is str for pattern in source["files"])
    ):
        raise UserError(
            f"{where}: 'files' is {source['files']!r}; it should list at least one file or pattern"
        )
    if source.get("separator") == "":
        raise UserError(
            f"{where}: 'separator' is empty; write null to take each file as one document"
        )
    if kind == "synthetic" and source["split"] not in SPLITS:
        raise UserError(
            f"{where}: 'split' is {source['split']!r}; it should be one of {', '.join(SPLITS)}"
        )


def read_split_settings(path: Path) -> dict[str, Any]:
    """Read and check the frozen settings of a split: {"split", "tokens": budget or null, "source": {...}}."""
    settings = seal.read_if_sealed(path)
    check_keys(settings, str(path), {"split": (str,), "tokens": (int, NoneType), "source": (dict,)})
    check_source(settings["source"], f"{path}: source")
    if settings["tokens"] is not None and settings["tokens"] < 1:
        raise UserError(
            f"{path}: 'tokens' is {settings['tokens']}; it should be at least 1, or null for all there are"
        )
    if settings["tokens"] is None and settings["source"]["source"] == "synthetic":
        raise UserError(f"{path}: 'tokens' is null, but synthetic stories never end; give a number")
    return settings


def documents(source: dict[str, Any]) -> Iterator[str]:
    """Yield the documents of a checked source in file order.

    Raises UserError where the source cannot be read (missing, undecodable, malformed, offline) or holds no text at all.
    """
    readers = {"hub": _hub_documents, "text": _text_documents, "synthetic": _stories}
    if source["source"] not in readers:
        raise UserError(
            f"source: '{source['source']}' holds no text to read; it should be one of {', '.join(readers)}"
        )
    empty = True
    for document in readers[source["source"]](source):
        empty = empty and not document
        yield document
    if empty:
        raise UserError(
            f"{source.get('path') or ', '.join(source['files'])}: an empty corpus; name a source with text in it"
        )


def _stories(source: dict[str, Any]) -> Iterator[str]:
    return synthetic.stories(source["seed"], source["split"])


def _hub_documents(source: dict[str, Any]) -> Iterator[str]:
    column, rows = source["text_column"], 0
    for columns in _hub_columns(source):
        texts = columns.get(column, [])
        if column not in columns or set(map(type, texts)) - {
            str
        }:  # per batch, to keep up with a fast tokenizer; now the row
            for number, values in enumerate(zip(*columns.values(), strict=True), rows):
                _text_of(
                    dict(zip(columns, values, strict=True)),
                    column,
                    f"{source['path']}, row {number} of '{source['split']}'",
                )
        yield from texts
        rows += len(texts)


def _hub_columns(source: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """The rows of a split in batches, as lists of equal length by column; only the text column where it can be read alone."""
    import datasets
    from datasets.packaged_modules.parquet.parquet import Parquet

    path = str(Path(source["path"]).expanduser())
    try:
        builder = datasets.load_dataset_builder(path, revision=source["revision"])
        if isinstance(builder, Parquet):
            yield from _parquet_columns(
                builder.config.data_files, source["split"], source["text_column"]
            )
        else:
            yield from (
                {key: [value] for key, value in row.items()}
                for row in builder.as_streaming_dataset(source["split"])
            )
    except (
        Exception
    ) as error:  # the layers below (HTTP, hub, file formats) each have errors of their own
        raise UserError(
            f"{path}: cannot read split '{source['split']}' at revision {source['revision'] or 'main'} "
            f"({' '.join(str(error).split())}); check these names and the network, or give a folder that holds a copy"
        ) from None


def _parquet_columns(
    files: dict[str, list[str]], split: str, column: str
) -> Iterator[dict[str, list[Any]]]:
    # One row group at a time: the stream of `datasets`, like one iter_batches over all, holds a whole file (apache/arrow#39808).
    from datasets.utils.file_utils import xopen
    from pyarrow.parquet import ParquetFile

    if split not in files:
        raise ValueError(f"unknown split; available splits: {', '.join(files)}")
    for name in files[split]:
        with xopen(name, "rb") as file:
            parquet = ParquetFile(file)
            columns = [column] if column in parquet.schema_arrow.names else None
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(
                    batch_size=1000, row_groups=[group], columns=columns
                ):
                    yield batch.to_pydict()


def _text_documents(source: dict[str, Any]) -> Iterator[str]:
    for path in text_files(source["files"]):
        characters = _characters(path)
        if path.name.endswith((".jsonl", ".jsonl.gz")):
            yield from _json_lines(path, characters, source["text_column"])
        elif source["separator"] is None:
            yield "".join(characters)
        else:
            stripped = (part.strip() for part in _split(characters, source["separator"]))
            yield from filter(None, stripped)


def text_files(patterns: list[str]) -> list[Path]:
    """The files that names and globs stand for: pattern by pattern, sorted within each, every file once.

    Raises UserError for a pattern that matches no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        names = [pattern] if Path(pattern).is_file() else glob.glob(pattern, recursive=True)  # noqa: PTH207 (absolute patterns)
        files = [Path(name) for name in sorted(names) if Path(name).is_file()]
        if not files:
            raise UserError(
                f"{repr(pattern)[1:-1]}: no such file; give a text file or a pattern that matches some"
            )
        found |= dict.fromkeys(files)
    return list(found)


def _blocks(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            while block := file.read(_BLOCK):
                yield block
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{path}: not a whole gzip file ({error}); compress it again") from None


def _characters(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    for block in chain(_blocks(path), [b""]):
        held_back = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: not UTF-8 at byte {done - held_back + error.start}; convert the file to UTF-8"
            ) from None
        yield text if done else text.removeprefix("\ufeff")
        done += len(block)


def _split(blocks: Iterable[str], separator: str) -> Iterator[str]:
    rest = ""
    for block in blocks:
        *whole, rest = (rest + block).split(separator)
        yield from whole
    yield rest


def _json_lines(path: Path, blocks: Iterable[str], column: str) -> Iterator[str]:
    for number, line in enumerate(_split(blocks, "\n"), start=1):
        if not line.strip():
            continue
        try:
            text = _text_of(json.loads(line), column, f"{path}:{number}")
            text.encode()  # an escape such as \ud83d without its other half passes as JSON but is not text
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: not a JSON object with text ({error}); mend or remove the line"
            ) from None
        yield text


def _text_of(row: Any, column: str, where: str) -> str:
    if not isinstance(row, dict):
        raise UserError(
            f"{where}: not a JSON object; each line should be one, with the text in '{column}'"
        )
    if column not in row:
        raise UserError(
            f"{where}: no column '{column}'; text_column should be one of: {', '.join(map(str, row))}"
        )
    if not isinstance(row[column], str):
        raise UserError(
            f"{where}: column '{column}' holds {type(row[column]).__name__}, not text; choose another text_column"
        )
    return row[column]
