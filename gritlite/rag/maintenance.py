"""Inspecting, checking and shrinking a store, without the model that made it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gritlite.rag.database import Database, check_exists
from gritlite.rag.extra import require_rag
from gritlite.rag.settings import Settings
from gritlite.rag.state_files import StateFiles, StateUsage
from gritlite.rag.write_lock import write_lock


@dataclass(frozen=True)
class Info:
    """What a store holds.

    `sources`, `chunks` and `tokens` count what is searched, `pending` the documents that
    are not embedded yet, and `file_bytes` the size of the database.
    """

    settings: Settings
    sources: int
    chunks: int
    tokens: int
    pending: int
    states: StateUsage
    file_bytes: int


def info(path: str | Path) -> Info:
    """Count what is in a store.

    Raises FileError where there is none, and FormatError for a file that is not a store.
    """
    path = Path(path)
    with _opened(path) as database:
        count = database.number
        complete = "from chunk join source on source.id = source where complete"
        return Info(
            settings=Settings.load(database),
            sources=count("select count(*) from source where complete"),
            chunks=count(f"select count(*) {complete}"),
            tokens=count(f"select coalesce(sum(tokens), 0) {complete}"),
            pending=count("select count(*) from source where not complete"),
            states=StateFiles(path, database).usage(),
            file_bytes=path.stat().st_size,
        )


def verify(path: str | Path) -> list[str]:
    """Return the problems of the database and the states, one line each; change nothing.

    Raises as `info`, and MissingExtraError.
    """
    require_rag("checking a store")
    path = Path(path)
    with _opened(path) as database:
        problems = [line for (line,) in database.rows("pragma integrity_check") if line != "ok"]
        problems += [
            f"a row of the table {table} refers to a row that does not exist"
            for table, *_ in database.rows("pragma foreign_key_check")
        ]
        return [f"{path}: {line}" for line in problems] + list(
            StateFiles(path, database).problems()
        )


def prune(path: str | Path, max_state_bytes: int | None = None) -> int:
    """Remove the state files of deleted chunks, and shrink the database to what it uses.

    With `max_state_bytes`, also remove the least recently used states until the rest fits.
    Returns the number of states removed. Raises as `info`, MissingExtraError, and
    FileError while another writer adds.
    """
    require_rag("pruning a store")
    path = Path(path)
    with _opened(path) as database, write_lock(path):
        files = StateFiles(path, database)
        removed = files.remove_orphans()
        if max_state_bytes is not None:
            removed += files.shrink(max_state_bytes)
        database.execute("vacuum")
        return removed


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Database]:
    check_exists(path)
    with contextlib.closing(Database(path)) as database:
        yield database
