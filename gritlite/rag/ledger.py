"""Which states a store has: their files in a folder beside it, and the ledger in its database.

A file is written before the transaction that enters it, and removed after the
one that strikes it out, so a process that is killed leaves at most a file that
the ledger does not know: it is written over, or swept. Knows nothing of models.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FileError, FormatError
from gritlite.files import DISK_FULL
from gritlite.rag import blob
from gritlite.rag.database import Database

_TOGETHER = 1000  # files in one folder
_SUFFIX = ".kv"


@dataclass(frozen=True)
class Usage:
    """How many states the ledger knows, and the bytes of their files."""

    states: int
    bytes: int


class Ledger:
    """The states of the store at `path`, by the ids of their chunks. Not thread-safe."""

    def __init__(self, path: Path, database: Database) -> None:
        self.folder = Path(f"{path}.states")
        self._database = database

    def write(self, chunk: int, parts: Iterator[bytes]) -> int:
        """Write a file, not yet in the ledger; return its bytes.

        Raises FileError when that fails, then without a trace.
        """
        path = self._path(chunk)
        pending = path.with_suffix(".part")
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
                "(`gritlite store prune --states SIZE`)"
            ) from error
        return size

    def enter(self, chunk: int, size: int) -> None:
        """Put a file that was written into the ledger."""
        self._database.execute(
            "insert or replace into state (chunk, bytes, used_ns) values (?, ?, ?)",
            (chunk, size, time.time_ns()),
        )

    def read(self, chunk: int) -> bytes | None:
        """A file of the ledger, which then was used last; None if it is not there."""
        if not self._knows(chunk):
            return None
        try:
            data = self._path(chunk).read_bytes()
        except OSError:
            return None
        with contextlib.suppress(FileError):  # while another process writes it is not noted
            self._database.execute(
                "update state set used_ns = ? where chunk = ?", (time.time_ns(), chunk)
            )
        return data

    def _knows(self, chunk: int) -> bool:
        found = self._database.execute("select 1 from state where chunk = ?", (chunk,)).fetchone()
        return found is not None

    def usage(self) -> Usage:
        """What the ledger adds up to."""
        rows = self._database.execute("select count(*), coalesce(sum(bytes), 0) from state")
        return Usage(*rows.fetchone())

    def shrink(self, most: int) -> int:
        """Remove the states used longest ago until `most` bytes are left; return their number."""
        excess = self.usage().bytes - most
        gone: list[int] = []
        rows = self._database.execute("select chunk, bytes from state order by used_ns, chunk")
        while excess > 0:
            chunk, size = rows.fetchone()
            gone.append(chunk)
            excess -= size
        rows.close()
        self._remove(gone)
        return len(gone)

    def _remove(self, chunks: Sequence[int]) -> None:
        with self._database.transaction():
            for chunk in chunks:
                self._database.execute("delete from state where chunk = ?", (chunk,))
        for chunk in chunks:
            self._path(chunk).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove the files that the ledger does not know; return their number."""
        removed = 0
        for path in self._files():
            if path.suffix != _SUFFIX or not self._knows(int(path.stem)):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def problems(self) -> Iterator[str]:
        """The states of the ledger that are not whole, a line each."""
        chunks = self._database.execute("select chunk from state order by chunk").fetchall()
        for (chunk,) in chunks:
            path = self._path(chunk)
            try:
                blob.check(path.read_bytes())
            except FileNotFoundError:
                yield f"{path}: missing"
            except OSError as error:
                yield f"{path}: cannot be read: {error.strerror}"
            except FormatError as error:
                yield f"{path}: {error}"

    def _files(self) -> Iterator[Path]:
        for folder in self.folder.glob("*"):
            if folder.name.isdecimal():
                yield from (path for path in folder.iterdir() if path.stem.isdecimal())

    def _path(self, chunk: int) -> Path:
        return self.folder / str(chunk // _TOGETHER) / f"{chunk}{_SUFFIX}"
