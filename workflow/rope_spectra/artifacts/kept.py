"""The store of finished results: equal content is never made twice, and nothing finished is lost.

Snakemake decides by names and time stamps, and deletes the outputs of a job before it starts. So
each finished result is also in the store, at `<kind>/<key>`, where the key is the SHA-256 of all
that the result depends on. The entries are hard links to the files of the experiments, or copies
where the file system has no hard links. A step looks there first and *adopts* what it finds.

The modules that own a kind of results describe it by a `Kind`; only they read its records.
"""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from rope_spectra.artifacts import files, layout
from rope_spectra.runtime.cli import log
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.foreign import read_end
from rope_spectra.runtime.settings import Record

# JSON list of the rules and files that must really be made again, "*" for all. Set by the Snakefile
# from --forcerun, --force and --forceall.
FORCED = "ROPE_SPECTRA_FORCED"

_KEY = "^[0-9a-f]{64}$"
_POLL_S = 0.5
_INDEX = "index"  # JSON; what ends in .json two folders below results/ can be published
_LARGEST_INDEX = 10**8  # bytes; a result has some 300
_LOCKS = "locks"


@dataclass(frozen=True)
class Kind:
    """One kind of finished results.

    `record` is the pattern of layout for the record that is written last. `files` gives the files
    of a result by their names in the store, the record's own included. `key` reads the record;
    UserError where it is damaged or no such record. `restore` puts an entry of the store back in
    the place of a record, under the names that belong there.
    """

    name: str
    record: str
    files: Callable[[Path], dict[str, Path]]
    key: Callable[[Path], str]
    restore: Callable[[Path, Path], None]


class Found(Record):
    """A record in the folder of an experiment: the key of its result, and its state on disk."""

    key: Annotated[str, Field(pattern=_KEY)]
    inode: int
    modified_ns: int
    size: int


@dataclass(frozen=True)
class Use:
    """The results of one kind in the store; `unused` are those that no experiment folder has."""

    kind: str
    count: int
    size: int
    unused: list[Path]
    unused_size: int


# The records of one kind by path, as they were when they were last looked at.
Index = dict[str, dict[str, Found]]
_INDEX_TYPE = TypeAdapter(Index)


class Store:
    """The store in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of a kept result; None if there is none."""
        entry = self._entry(kind, key)
        return entry if entry.is_dir() else None

    def keep(self, kind: str, key: str, paths: Mapping[str, Path]) -> None:
        """Keeps the files of a result by their names in the store.

        What is kept under this key already is replaced, unless it is the same files.
        """
        entry = self._entry(kind, key)
        if _holds(entry, paths):
            return
        # The name of a folder that was replaced also begins with a dot: no entry is called so.
        new = files.temporary_of(entry.with_name(f".{key}.new"))
        old = files.temporary_of(entry.with_name(f".{key}.old"))
        new.mkdir(parents=True)
        try:
            for name, path in paths.items():
                link(path, new / name)
            with suppress(FileNotFoundError):
                entry.rename(old)
            new.rename(entry)
        except OSError:
            # A planning Snakemake and the job itself may keep a result at the same moment.
            if not _holds(entry, paths):
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def make_once(
        self,
        kind: str,
        key: str,
        paths: Mapping[str, Path],
        adopt: Callable[[Path], None],
        make: Callable[[], None],
        what: str,
        is_forced: bool,
    ) -> None:
        """Adopts the kept result, or makes it and keeps it; two processes at once make it once.

        `paths` are the files of the result by their names in the store; `adopt` puts an entry in
        their place, or raises UserError where it is damaged. is_forced: make it even if it is kept,
        unless that has just been done by the process that this one has waited for.
        """
        before = self._made_at(kind, key)
        with self.only_once(kind, key, what):
            may_adopt = not is_forced or self._made_at(kind, key) != before
            if may_adopt and self._is_adopted(kind, key, adopt):
                return
            make()
            try:
                self.keep(kind, key, paths)
            except OSError as error:
                # The result itself is there. The next `collect` tries again to keep it.
                log.info("not kept for other experiments: %s", error)

    def _made_at(self, kind: str, key: str) -> int | None:
        entry = self.find(kind, key)
        return entry.stat().st_ctime_ns if entry else None

    def _is_adopted(self, kind: str, key: str, adopt: Callable[[Path], None]) -> bool:
        entry = self.find(kind, key)
        if entry is None:
            return False
        try:
            adopt(entry)
        except UserError as damage:
            log.info("a kept result is removed and made again: %s", str(damage).partition(";")[0])
            shutil.rmtree(entry)
            return False
        return True

    @contextmanager
    def only_once(self, kind: str, key: str, what: str) -> Iterator[None]:
        """Waits until no other process makes this result; `what` names it in the log.

        The lock ends with the process, even when that is killed. On a file system without locks
        nobody waits.
        """
        path = self.root / _LOCKS / f"{kind}-{self._entry(kind, key).name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _try_lock(path)
        if descriptor is None:
            log.warning("waiting: another process is making %s", what)
        # By polling, not in the kernel: a signal ends the wait at once.
        while descriptor is None:
            time.sleep(_POLL_S)
            descriptor = _try_lock(path)
        try:
            yield
        finally:
            # While it is still locked: whoever opens it now sees that it is gone and makes another.
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def collect(self, results: Path, kinds: Collection[Kind]) -> Index:
        """Keeps every finished result in the folders of `results` that the store lacks.

        A record that has not changed since the last time is not read again. What is damaged is left
        to the step that needs it, which says so.
        """
        index = self._index()
        before = {kind.name: index.get(kind.name, {}) for kind in kinds}
        now = {kind.name: self._found(results, kind, before[kind.name]) for kind in kinds}
        for kind in kinds:
            for path, found in now[kind.name].items():
                paths = kind.files(Path(path))
                is_kept = self.find(kind.name, found.key) is not None
                if not is_kept and all(file.is_file() for file in paths.values()):
                    self.keep(kind.name, found.key, paths)
        if now != before:
            files.write_text(self.root / _INDEX, _INDEX_TYPE.dump_json(now).decode())
        return now

    def restore(self, kinds: Iterable[Kind]) -> list[Path]:
        """Puts back the results that have gone from a folder since they were collected.

        Snakemake has deleted them for a job that then failed. They get their old time stamps, as if
        the job had never begun. Returns their records. A folder that is gone as a whole stays so.
        """
        restored = []
        index = self._index()
        for kind in kinds:
            for name, found in index.get(kind.name, {}).items():
                record = Path(name)
                if all(path.exists() for path in kind.files(record).values()):
                    continue
                entry = self.find(kind.name, found.key)
                if entry is None or not record.parent.is_dir():
                    continue
                # It does not fit where a job before the failed one has made another result.
                with suppress(UserError):
                    kind.restore(entry, record)
                    _set_back(kind.files(record).values(), found.modified_ns)
                    restored.append(record)
        return restored

    def usage(self, results: Path, kinds: Collection[Kind]) -> list[Use]:
        """The contents of the store by kind."""
        return [self._use(kind, found) for kind, found in self.collect(results, kinds).items()]

    def leftover_size(self) -> int:
        """The bytes that no experiment had when the results were last collected; only reads."""
        size = 0
        for kind, index in self._index().items():
            for entry in self._unused(kind, index):
                # Jobs may replace entries meanwhile. What they have made since then is linked.
                with suppress(OSError):
                    states = [path.stat() for path in entry.iterdir()]
                    size += sum(state.st_size for state in states if state.st_nlink == 1)
        return size

    def _use(self, kind: str, index: Mapping[str, Found]) -> Use:
        entries = self._entries(kind)
        unused = self._unused(kind, index)
        return Use(
            kind=kind,
            count=len(entries),
            size=sum(map(_size, entries)),
            unused=unused,
            unused_size=sum(map(_size, unused)),
        )

    def _unused(self, kind: str, index: Mapping[str, Found]) -> list[Path]:
        in_use = {found.key for found in index.values()}
        return [entry for entry in self._entries(kind) if entry.name not in in_use]

    def _entries(self, kind: str) -> list[Path]:
        folder = self.root / kind
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _found(self, results: Path, kind: Kind, before: Mapping[str, Found]) -> dict[str, Found]:
        """The records of a kind by path.

        One that is gone stays for as long as its folder does: a job may be about to make it again.
        """
        found = {path: seen for path, seen in before.items() if Path(path).parent.is_dir()}
        for record in layout.find(results, kind.record):
            # Neither what is damaged nor what another process removes at this moment is finished.
            with suppress(UserError, ValidationError, FileNotFoundError):
                state = record.stat()
                seen = found.get(str(record))
                if seen is None or not _is_same(seen, state):
                    found[str(record)] = Found(
                        key=kind.key(record),
                        inode=state.st_ino,
                        modified_ns=state.st_mtime_ns,
                        size=state.st_size,
                    )
        return found

    def _index(self) -> Index:
        try:
            return _INDEX_TYPE.validate_json(read_end(self.root / _INDEX, _LARGEST_INDEX))
        except (OSError, ValidationError):
            return {}

    def _entry(self, kind: str, key: str) -> Path:
        # The key may come from a record that somebody else has written.
        if not re.fullmatch(_KEY, key):
            raise UserError(f"{self.root / kind}: {key!r:.80} is no SHA-256")
        return self.root / kind / key


def is_forced(rule: str, *outputs: Path) -> bool:
    """True if the user has asked Snakemake to really run this rule or make these files again."""
    forced = set(json.loads(os.environ.get(FORCED, "[]")))
    return not forced.isdisjoint({"*", rule, *map(str, outputs)})


def link(source: Path, target: Path) -> None:
    """Makes `target` a hard link to `source`, or a copy that is on disk where links are refused."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # If it is something else that is wrong, such as a full disk, this says so.
        shutil.copy2(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def place(source: Path, target: Path, as_link: bool) -> None:
    """Publishes a file of the store as `target`, atomically.

    as_link: share the bytes, and with them the time stamp; otherwise it is a copy.
    """
    with files.atomic(target) as temporary:
        if as_link:
            link(source, temporary)
        else:
            shutil.copyfile(source, temporary)


def _holds(entry: Path, paths: Mapping[str, Path]) -> bool:
    """True if an entry consists of these very files."""
    try:
        names = {path.name for path in entry.iterdir()}
        same = all((entry / name).samefile(path) for name, path in paths.items())
    except FileNotFoundError:
        return False
    return same and names == set(paths)


def _try_lock(path: Path) -> int | None:
    """The descriptor that holds the lock; None while another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        return descriptor
    with suppress(FileNotFoundError):
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    # The one before has removed the file since it was opened.
    os.close(descriptor)
    return None


def _set_back(paths: Iterable[Path], modified_ns: int) -> None:
    """Gives files a time stamp, except those that share theirs with other folders."""
    for path in paths:
        if path.stat().st_nlink == 1:
            os.utime(path, ns=(modified_ns, modified_ns))


def _is_same(found: Found, state: os.stat_result) -> bool:
    seen = (found.inode, found.modified_ns, found.size)
    return seen == (state.st_ino, state.st_mtime_ns, state.st_size)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
