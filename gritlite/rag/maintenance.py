"""Looking after a store, without the model that made it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gritlite.rag.database import Database, check_there
from gritlite.rag.settings import Settings
from gritlite.rag.state_files import StateFiles, StateUsage
from gritlite.rag.write_lock import writing


@dataclass(frozen=True)
class Info:
    """What a store holds, and the bytes of its file."""

    settings: Settings
    sources: int
    chunks: int
    tokens: int
    pending: int
    states: StateUsage
    file_bytes: int


def info(path: Path) -> Info:
    """Count what is in a store. Raises FileError where there is none, and FormatError."""
    with _opened(path) as database:
        count = database.number
        complete = "from chunk join source on source.id = source where complete"
        return Info(
            settings=Settings.read(database),
            sources=count("select count(*) from source where complete"),
            chunks=count(f"select count(*) {complete}"),
            tokens=count(f"select coalesce(sum(tokens), 0) {complete}"),
            pending=count("select count(*) from source where not complete"),
            states=StateFiles(path, database).usage(),
            file_bytes=path.stat().st_size,
        )


def verify(path: Path) -> list[str]:
    """What is wrong with the database or a state, a line each; nothing is changed."""
    with _opened(path) as database:
        found = [line for (line,) in database.rows("pragma integrity_check") if line != "ok"]
        broken = database.rows("pragma foreign_key_check")
        found += [f"the table {table} has a row of nothing" for table, *_ in broken]
        return [f"{path}: {line}" for line in found] + list(StateFiles(path, database).problems())


def prune(path: Path, most_state_bytes: int | None = None) -> int:
    """Remove files of states that belong to no chunk, and free what the database left free.

    With `most_state_bytes` also the states that were used longest ago, until no
    more is left. Returns the number of states removed. Raises FileError while
    another process adds.
    """
    with _opened(path) as database, writing(path):
        ledger = StateFiles(path, database)
        removed = ledger.sweep()
        if most_state_bytes is not None:
            removed += ledger.shrink(most_state_bytes)
        database.execute("vacuum")
        return removed


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Database]:
    check_there(path)
    with contextlib.closing(Database(path)) as database:
        yield database
