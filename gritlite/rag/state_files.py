"""Which states a store has: their files in a folder beside it, and the ledger in its database.

A file is written before the transaction that enters it, and removed after the
one that strikes it out, so a process that is killed leaves at most a file that
the ledger does not know: it is written over, or swept. Knows nothing of models.
"""

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FileError, FormatError
from gritlite.rag import state_codec
from gritlite.rag.database import Database
from gritlite.rag.layouts import StateKind
from gritlite.system.files import DISK_FULL

_TOGETHER = 1000  # files in one folder
_SUFFIX, _UNFINISHED = ".kv", ".part"
_NAME = re.compile(rf"(?P<chunk>\d+)\.(?P<kind>[a-z]+)({_SUFFIX}|(?P<unfinished>{_UNFINISHED}))")


@dataclass(frozen=True)
class StateUsage:
    """How many states the ledger knows, and the bytes of their files."""

    states: int
    bytes: int


class StateFiles:
    """The states of the store at `path`, by the ids of their chunks and kinds. Not thread-safe."""

    def __init__(self, path: Path, database: Database) -> None:
        self.folder = Path(f"{path}.states")
        self._database = database

    def write(self, chunk: int, kind: StateKind, parts: Iterable[bytes]) -> int:
        """Write a file, not yet in the ledger; return its bytes.

        Raises FileError when that fails, then without a trace.
        """
        path = self._path(chunk, kind)
        pending = path.with_suffix(_UNFINISHED)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with pending.open("wb") as file:
                    file.writelines(parts)
                    size = file.tell()
                pending.replace(path)
            except BaseException:
                pending.unlink(missing_ok=True)
                raise
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise FileError(f"cannot write {path}: {error.strerror}") from error
            raise FileError(
                f"the disk is full while writing {path}: free some space, or keep fewer states "
                "(`gritlite store prune`)"
            ) from error
        return size

    def enter(self, chunk: int, kind: StateKind, size: int) -> None:
        """Put a file that was written into the ledger."""
        self._database.execute(
            "insert or replace into state values (?, ?, ?, ?)",
            (chunk, kind, size, time.time_ns()),
        )

    def read(self, chunk: int, kind: StateKind) -> bytes | None:
        """A file of the ledger, which then was used last; None if it is not there."""
        if not self.knows(chunk, kind):
            return None
        try:
            data = self._path(chunk, kind).read_bytes()
        except OSError:
            return None
        with contextlib.suppress(FileError):  # while another process writes it is not noted
            self._database.execute(
                "update state set used_ns = ? where chunk = ? and kind = ?",
                (time.time_ns(), chunk, kind),
            )
        return data

    def knows(self, chunk: int, kind: str) -> bool:
        """Whether the ledger has a state of that kind."""
        sql = "select 1 from state where chunk = ? and kind = ?"
        return self._database.row(sql, (chunk, kind)) is not None

    def usage(self, kind: StateKind | None = None) -> StateUsage:
        """What the states of a kind, or all, add up to."""
        of_kind = "from state where kind = coalesce(?, kind)"
        return StateUsage(
            self._database.number(f"select count(*) {of_kind}", (kind,)),
            self._database.number(f"select coalesce(sum(bytes), 0) {of_kind}", (kind,)),
        )

    def shrink(self, most: int) -> int:
        """Remove the states used longest ago until `most` bytes are left; return their number."""
        oldest = "select chunk, kind, bytes from state order by used_ns, chunk"
        with self._database.transaction():
            excess = self.usage().bytes - most
            gone: list[tuple[int, StateKind]] = []
            for chunk, kind, size in self._database.rows(oldest):
                if excess <= 0:
                    break
                gone.append((chunk, kind))
                excess -= size
            for state in gone:
                self._strike(*state)
        for state in gone:
            self._path(*state).unlink(missing_ok=True)
        return len(gone)

    def remove(self, chunk: int, kind: StateKind) -> None:
        """Remove a state, entered or not."""
        self._strike(chunk, kind)
        self._path(chunk, kind).unlink(missing_ok=True)

    def _strike(self, chunk: int, kind: StateKind) -> None:
        self._database.execute("delete from state where chunk = ? and kind = ?", (chunk, kind))

    def sweep(self) -> int:
        """Remove the files that the ledger does not know; return their number."""
        removed = 0
        for path in self._files():
            name = _NAME.fullmatch(path.name)
            if name and (name["unfinished"] or not self.knows(int(name["chunk"]), name["kind"])):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def problems(self) -> Iterator[str]:
        """The states of the ledger that are not whole, a line each."""
        for state in self._database.rows("select chunk, kind from state order by chunk"):
            path = self._path(*state)
            try:
                state_codec.check(path.read_bytes())
            except FileNotFoundError:
                yield f"{path}: missing"
            except OSError as error:
                yield f"{path}: cannot be read: {error.strerror}"
            except FormatError as error:
                yield f"{path}: {error}"

    def _files(self) -> Iterator[Path]:
        for folder in self.folder.glob("*"):
            if folder.name.isdecimal():
                yield from folder.iterdir()

    def _path(self, chunk: int, kind: StateKind) -> Path:
        return self.folder / str(chunk // _TOGETHER) / f"{chunk}.{kind}{_SUFFIX}"
