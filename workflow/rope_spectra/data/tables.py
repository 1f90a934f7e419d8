"""Text in rows: JSON lines, a JSON array, CSV, TSV and parquet, read as a stream.

Each reader yields the text of every row in order. It raises UserError, which names the row, where
there is none.
"""

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, AnyStr, TypeAlias

from rope_spectra.data.base import text_of
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

# Rows as lists of equal length by column.
Rows: TypeAlias = dict[str, list[Any]]

_MOST_ROWS = 1000  # in a batch
_BATCH_BYTES = 1 << 23
_SPACE = re.compile(r"\s*")
_DELIMITERS = {"csv": ",;\t|", "tsv": "\t"}


def split_lists(blocks: Iterable[AnyStr], separator: AnyStr) -> Iterator[list[AnyStr]]:
    """Yields what `split` gives of the joined blocks, as a list for each block.

    The last text of a list goes on with the first text of the next list.
    """
    # A separator may begin in one block and end in the next: so much of the end waits.
    waits = len(separator) - 1
    rest = separator[:0]
    for block in blocks:
        *ended, last = (rest + block).split(separator)
        at = max(0, len(last) - waits)
        yield [*ended, last[:at]]
        rest = last[at:]
    yield [rest]


def split_blocks(blocks: Iterable[str], separator: str) -> Iterator[str]:
    """Yields what str.split gives of the joined blocks, which are never all in memory."""
    parts: list[str] = []
    for *ended, last in split_lists(blocks, separator):
        if ended:
            yield "".join([*parts, ended[0]])
            yield from ended[1:]
            parts = []
        parts.append(last)
    yield "".join(parts)


def json_texts(path: Path, blocks: Iterable[str], column: str) -> Iterator[str]:
    """Yields the texts of JSON lines, or of an array of JSON objects."""
    blocks = iter(blocks)
    start = ""
    for block in blocks:
        start = block.lstrip()
        if start:
            break
        start = block
    whole = chain([start], blocks)
    is_array = start.startswith("[")
    yield from (json_array if is_array else json_lines)(path, whole, column)


def json_lines(path: Path, blocks: Iterable[str], column: str) -> Iterator[str]:
    """Yields the text of each line."""
    # Not str.splitlines: JSON may hold other line ends within a text.
    for number, line in enumerate(split_blocks(blocks, "\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            remedy = "fix or remove the line"
            if number == 1 and line.strip() in ("{", "["):
                remedy = "write each object on a line of its own (jq -c)"
            raise UserError(f"{where}: not a JSON object with text ({error}); {remedy}") from None
        yield _checked(row, column, where)


def _checked(row: Any, column: str, where: str) -> str:
    """The text of a row of JSON."""
    text = text_of(row, column, where)
    try:
        # An escape such as \ud83d without its other half passes as JSON but is not text.
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: not a JSON object with text ({error}); fix or remove the line"
        ) from None
    return text


def json_array(path: Path, blocks: Iterable[str], column: str) -> Iterator[str]:
    """Yields the text of each object of an array, of which one at a time is in memory."""
    for number, row in enumerate(_Array(path, blocks).items(), start=1):
        yield _checked(row, column, f"{path}, item {number}")


class _Array:
    """A JSON array that is parsed item by item."""

    def __init__(self, path: Path, blocks: Iterable[str]) -> None:
        self._path = path
        self._blocks = iter(blocks)
        self._text = ""
        self._at = 0

    def items(self) -> Iterator[Any]:
        """Yields the items in order."""
        self._take("[", 1)
        number = 0
        while self._next() != "]":
            number += 1
            if number > 1:
                self._take(",", number)
            yield self._item(number)
        self._at += 1
        if self._next():
            raise UserError(f"{self._path}: more follows its JSON array; write one array alone")

    def _next(self) -> str:
        """The next character that is no space, at which `_at` then is; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text) or not self._read_more():
                return self._text[self._at : self._at + 1]

    def _take(self, mark: str, number: int) -> None:
        found = self._next()
        if found != mark:
            what = f"{found!r} instead of {mark!r}" if found else "the file ends within its array"
            raise UserError(f"{self._path}, item {number}: not JSON ({what}); write the file again")
        self._at += 1

    def _item(self, number: int) -> Any:
        self._next()
        while True:
            try:
                value, self._at = json.JSONDecoder().raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if _may_go_on(error, self._text) and self._read_more():
                    continue
                raise UserError(
                    f"{self._path}, item {number}: not JSON ({error}); write the file again"
                ) from None
            return value

    def _read_more(self) -> bool:
        """Reads as much as is there already, so that a long item is parsed few times."""
        parts = [self._text[self._at :]]
        self._at = 0
        wanted = len(parts[0])
        for block in self._blocks:
            parts.append(block)
            wanted -= len(block)
            if block and wanted <= 0:
                break
        self._text = "".join(parts)
        return len(self._text) > len(parts[0])


def _may_go_on(error: Exception, text: str) -> bool:
    """True if what is not JSON may only lack its end."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - 12


def csv_texts(path: Path, blocks: Iterable[str], column: str, kind: str) -> Iterator[str]:
    """Yields the text of each row below the header; `kind` is csv or tsv."""
    lines = (f"{line}\n" for line in split_blocks(blocks, "\n"))
    header = next(lines)
    if not header.strip():
        return
    # One field may be a whole book.
    csv.field_size_limit(sys.maxsize)
    delimiter = _delimiter(path, header, column, _DELIMITERS[kind])
    reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
    try:
        columns = next(reader)
        index = columns.index(column)
        for row in reader:
            # Behind the end of the last line is one more, with nothing in it.
            if not row:
                continue
            if len(row) != len(columns):
                raise UserError(
                    f"{path}:{reader.line_num}: {len(row)} fields, but the header has"
                    f" {len(columns)}; put fields with a delimiter, quote or line end in quotes"
                )
            yield row[index]
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: not {kind.upper()} ({error}); put fields with a delimiter,"
            " quote or line end in quotes, and double the quotes within"
        ) from None


def _delimiter(path: Path, header: str, column: str, delimiters: str) -> str:
    """The delimiter with which the header has the column."""
    most: list[str] = []
    for delimiter in delimiters:
        columns = next(csv.reader([header], delimiter=delimiter))
        if columns.count(column) == 1:
            return delimiter
        if column in columns:
            raise UserError(f"{path}:1: two columns '{column}'; rename one of them")
        if len(columns) > len(most):
            most = columns
    names = ", ".join(name[:40] for name in most)
    raise UserError(
        f"{path}:1: no column '{column}' in its first line; text_column should be one of: {names}"
    )


def parquet_texts(path: Path, column: str) -> Iterator[str]:
    """Yields the text of each row of a parquet file."""
    try:
        with path.open("rb") as file:
            yield from texts_of(parquet_rows(file, column), column, str(path))
    except (OSError, ValueError, NotImplementedError) as error:  # those of Arrow
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: cannot be read as parquet ({reason}); download or write it again"
        ) from None


def parquet_rows(file: IO[bytes], column: str) -> Iterator[Rows]:
    """Yields a parquet file in batches: only one column of it, or all if it lacks that one."""
    from pyarrow.parquet import ParquetFile

    parquet = ParquetFile(file)
    columns = [column] if column in parquet.schema_arrow.names else None
    # One row group at a time: the stream of `datasets`, like one iter_batches over all of them,
    # keeps a whole file in memory (apache/arrow#39808).
    for group in range(parquet.num_row_groups):
        rows = _rows_at_once(parquet, group)
        for batch in parquet.iter_batches(rows, row_groups=[group], columns=columns):
            yield batch.to_pydict()


def _rows_at_once(parquet: "ParquetFile", group: int) -> int:
    """As many rows of a row group as fit a batch on average: one of books has few."""
    about = parquet.metadata.row_group(group)
    size = max(1, about.total_byte_size // max(1, about.num_rows))
    return min(max(1, _BATCH_BYTES // size), _MOST_ROWS)


def texts_of(batches: Iterable[Rows], column: str, path: str, within: str = "") -> Iterator[str]:
    """Yields the text of each row of the batches.

    Raises UserError about the first row without text, as a row of `path`, of the part `within`.
    """
    done = 0
    for rows in batches:
        texts = rows.get(column, [])
        # One look at a whole batch is enough as long as nothing is wrong in it: a call for every
        # row would slow down a fast tokenizer.
        if column not in rows or not set(map(type, texts)) <= {str}:
            for number, values in enumerate(zip(*rows.values(), strict=True), done):
                row = dict(zip(rows, values, strict=True))
                text_of(row, column, f"{path}, row {number}{within}")
        yield from texts
        done += len(texts)
