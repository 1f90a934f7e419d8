"""Datasets of the Hugging Face hub, or of a local folder in the same layout, read as a stream."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from rope_spectra.data.base import (
    DocumentSection,
    DocumentSplit,
    Facts,
    Pieces,
    SplitName,
    is_local,
    not_empty,
    whole,
)
from rope_spectra.data.tables import Rows, parquet_rows, texts_of
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import PathText

_COMMIT = re.compile("[0-9a-f]{40}")


class HubSplit(DocumentSplit):
    """A split of a dataset of the Hugging Face hub."""

    source: Literal["hub"]
    path: PathText
    revision: str | None
    text_column: str
    split: str

    @property
    def description(self) -> str:
        if is_local(self.path):
            return f"split `{self.split}` of a local data set `{Path(self.path).name}`"
        revision = self.revision or "main"
        return f"split `{self.split}` of `{self.path}` at revision `{revision}`"

    @property
    def hub_id(self) -> str | None:
        return None if is_local(self.path) else self.path

    def raw_files(self) -> list[Path]:
        if not self._is_folder():
            return []
        # Hidden ones are left out, as `datasets` does: downloads keep their time stamps there.
        names = glob.glob(f"{glob.escape(self.path)}/**", recursive=True)  # noqa: PTH207 (follows links)
        return sorted(path for path in map(Path, names) if path.is_file())

    def facts(self) -> Facts | None:
        facts: Facts = {"source": self.source, "text_column": self.text_column, "split": self.split}
        if self._is_folder():
            # `datasets` finds splits and formats by the names within the folder.
            names = [path.relative_to(self.path).as_posix() for path in self.raw_files()]
            return facts | {"files": [*names]}
        # A branch or a tag is other text tomorrow; only a commit is always the same.
        if not _COMMIT.fullmatch(self.revision or ""):
            return None
        return facts | {"path": self.path, "revision": self.revision}

    def _is_folder(self) -> bool:
        # `datasets` prefers a folder to an id of the same name.
        return is_local(self.path) or Path(self.path).is_dir()

    def pieces(self) -> Iterator[Pieces]:
        within = f" of '{self.split}'"
        texts = texts_of(self._batches(), self.text_column, self.path, within)
        return not_empty(whole(texts), self.path)

    def _batches(self) -> Iterator[Rows]:
        """Yields the split in batches; only the text column where that can be read alone."""
        import datasets
        from datasets.packaged_modules.parquet.parquet import Parquet

        try:
            builder = datasets.load_dataset_builder(self.path, revision=self.revision)
            if isinstance(builder, Parquet):
                yield from self._parquet(builder.config.data_files)
            else:
                for row in builder.as_streaming_dataset(self.split):
                    yield {column: [value] for column, value in row.items()}
        # The layers below (HTTP, hub, file formats) each have errors of their own.
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self.path}: cannot read split '{self.split}' at revision"
                f" {self.revision or 'main'} ({reason}); check these names and the network,"
                " or give a folder with a copy"
            ) from None

    def _parquet(self, files: dict[str, list[str]]) -> Iterator[Rows]:
        from datasets.utils.file_utils import xopen

        if self.split not in files:
            # Names of splits are not plain text.
            known = ", ".join(map(str, files))
            raise ValueError(f"unknown split; available splits: {known}")
        for name in files[self.split]:
            with xopen(name, "rb") as file:
                yield from parquet_rows(file, self.text_column)


class HubData(DocumentSection):
    """A dataset of the Hugging Face hub"""

    source: Literal["hub"]
    path: PathText = Field(
        description="Hub id, or a local directory in the same layout (starts with / . or ~)"
    )
    revision: str | None = Field(None, description="Commit of the dataset (null is the newest)")
    text_column: str = Field("text", description="Column that holds the text")
    train_split: str = Field("train", description="Split to train on")
    validation_split: str = Field("validation", description="Split to evaluate on")

    def split(self, split: SplitName) -> HubSplit:
        return HubSplit(
            source="hub",
            path=self.path,
            revision=self.revision,
            text_column=self.text_column,
            split=self.train_split if split == "train" else self.validation_split,
        )

    def file_mistakes(self, split: SplitName) -> Iterator[str]:
        if is_local(self.path) and not Path(self.path).is_dir():
            yield f"path: no directory {self.path!r}; give an existing one or a hub id"
        if split == "validation" and self.train_split == self.validation_split:
            yield (
                f"validation_split: {self.validation_split!r} is trained on as well;"
                " give another split to evaluate on"
            )
