"""The states of a store: files in a folder beside it, and a table in its database.

A file is written before the transaction that records it, and deleted after the one that
deletes its row. So a process that is killed leaves at most an orphan, a file without a
row, which is overwritten or removed later. Knows nothing of models.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gritlite.errors import FileError, FormatError
from gritlite.rag import state_codec
from gritlite.rag.database import Database
from gritlite.rag.layouts import StateKind
from gritlite.system.files import DISK_FULL
from gritlite.system.reading import open_regular, read_stream

_FILES_PER_FOLDER = 1000
_SUFFIX, _PART_SUFFIX = ".kv", ".part"
# a number that SQLite can hold
_NAME = re.compile(
    rf"(?P<chunk>[0-9]{{1,18}})\.(?P<kind>[a-z]+)({_SUFFIX}|(?P<part>{_PART_SUFFIX}))"
)
_KINDS = ("doc", "exact")


@dataclass(frozen=True)
class StateUsage:
    """How many states a store has, and the bytes of their files."""

    states: int
    bytes: int


class StateFiles:
    """The states of the store at `path`, by chunk id and kind. Not thread-safe."""

    def __init__(self, path: Path, database: Database) -> None:
        self.folder = Path(f"{path}.states")
        self._database = database

    def write(self, chunk: int, kind: StateKind, parts: Iterable[bytes]) -> int:
        """Write a file without recording it; return its bytes.

        Raises FileError when that fails, and then leaves no file behind.
        """
        path = self._path(chunk, kind)
        part = path.with_suffix(_PART_SUFFIX)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    file.writelines(parts)
                    size = file.tell()
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise FileError(f"cannot write {path}: {error.strerror}") from error
            raise FileError(
                f"the disk is full while writing {path}: free some space, or keep fewer states "
                "(`gritlite store prune`)"
            ) from error
        return size

    def record(self, chunk: int, kind: StateKind, size: int) -> None:
        """Record a file of `size` bytes that was written."""
        self._database.execute(
            "insert or replace into state values (?, ?, ?, ?)",
            (chunk, kind, size, time.time_ns()),
        )

    def read(self, chunk: int, kind: StateKind) -> bytes | None:
        """A recorded file, which becomes the most recently used.

        None if there is none, or one of another size than the recorded one.
        """
        row = self._database.row(
            "select bytes from state where chunk = ? and kind = ?", (chunk, kind)
        )
        if row is None:
            return None
        try:
            data = _read_whole(self._path(chunk, kind), row[0])
        except (FileError, FormatError):
            return None
        with contextlib.suppress(FileError):  # another process is writing: skip this one
            self._database.execute(
                "update state set used_ns = ? where chunk = ? and kind = ?",
                (time.time_ns(), chunk, kind),
            )
        return data

    def has(self, chunk: int, kind: str) -> bool:
        """Whether a chunk's state of that kind is recorded."""
        sql = "select 1 from state where chunk = ? and kind = ?"
        return self._database.row(sql, (chunk, kind)) is not None

    def usage(self, kind: StateKind | None = None) -> StateUsage:
        """How many states of a kind there are, or of all kinds, and their bytes."""
        of_kind = "from state where kind = coalesce(?, kind)"
        return StateUsage(
            self._database.number(f"select count(*) {of_kind}", (kind,)),
            self._database.number(f"select coalesce(sum(bytes), 0) {of_kind}", (kind,)),
        )

    def shrink(self, max_bytes: int) -> int:
        """Remove the least recently used states until `max_bytes` are left; return how many."""
        oldest = "select chunk, kind, bytes from state order by used_ns, chunk"
        with self._database.transaction():
            excess = self.usage().bytes - max_bytes
            removed: list[tuple[int, StateKind]] = []
            for row in self._database.rows(oldest):
                chunk, kind, size = self._checked(row)
                if excess <= 0:
                    break
                removed.append((chunk, kind))
                excess -= size
            for state in removed:
                self._delete_row(*state)
        for state in removed:
            self._path(*state).unlink(missing_ok=True)
        return len(removed)

    def remove(self, chunk: int, kind: StateKind) -> None:
        """Remove a state, recorded or not."""
        self._delete_row(chunk, kind)
        self._path(chunk, kind).unlink(missing_ok=True)

    def _delete_row(self, chunk: int, kind: StateKind) -> None:
        self._database.execute("delete from state where chunk = ? and kind = ?", (chunk, kind))

    def remove_orphans(self) -> int:
        """Remove the files that are not recorded; return how many."""
        removed = 0
        for path in self._files():
            name = _NAME.fullmatch(path.name)
            if name and (name["part"] or not self.has(int(name["chunk"]), name["kind"])):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def problems(self) -> Iterator[str]:
        """What is wrong with recorded states, one line each."""
        rows = self._database.rows("select chunk, kind, bytes from state order by chunk, kind")
        for row in list(rows):
            try:
                chunk, kind, size = self._checked(row)
            except FormatError as error:
                yield str(error)
                continue
            path = self._path(chunk, kind)
            if not path.exists():
                yield f"{path}: missing"
                continue
            try:
                state_codec.check(_read_whole(path, size))
            except FileError as error:
                yield str(error)
            except FormatError as error:
                yield f"{path}: {error}"

    def _checked(self, row: tuple[Any, ...]) -> tuple[int, StateKind, int]:
        """A state's chunk, kind and bytes; the kind becomes part of a path."""
        chunk, kind, size = self._database.typed(row, int, str, int)
        if kind not in _KINDS or size < 0:
            raise self._database.damaged(f"the entry of a state of chunk {chunk} was changed")
        return chunk, kind, size

    def _files(self) -> Iterator[Path]:
        for folder in self.folder.glob("*"):
            if folder.name.isdecimal() and folder.is_dir():
                yield from folder.iterdir()

    def _path(self, chunk: int, kind: StateKind) -> Path:
        return self.folder / str(chunk // _FILES_PER_FOLDER) / f"{chunk}.{kind}{_SUFFIX}"


def _read_whole(path: Path, size: object) -> bytes:
    """The bytes of a file of `size` bytes. Raises FormatError for one of another, and FileError."""
    with contextlib.closing(open_regular(path)) as file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            recorded = f"{size:,}" if isinstance(size, int) else "number"
            raise FormatError(f"damaged: it has {found:,} bytes, not the {recorded} recorded")
        return read_stream(file, str(path), found)
