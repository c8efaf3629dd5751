"""Inspecting, checking and shrinking a store, without the model that made it."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.rag import verification
from gritlite.rag.database import Database, check_exists
from gritlite.rag.extra import require_rag
from gritlite.rag.listing import Removal, StoredDocument, list_stored, remove_stored
from gritlite.rag.migrations import open_database
from gritlite.rag.paths import StorePaths
from gritlite.rag.roots import Root, read_roots
from gritlite.rag.settings import Settings
from gritlite.rag.state_files import StateFiles, StateUsage
from gritlite.rag.where import Where, read_where
from gritlite.rag.write_lock import write_lock


@dataclass(frozen=True)
class Info:
    """What a store holds.

    `sources`, `chunks` and `tokens` count what is searched, `pending` the documents that
    are not embedded yet, and `file_bytes` the size of the database. `roots` are the files and
    folders that were indexed.
    """

    settings: Settings
    sources: int
    chunks: int
    tokens: int
    pending: int
    states: StateUsage
    file_bytes: int
    roots: tuple[Root, ...]


def info(path: str | Path) -> Info:
    """Count what is in a store.

    Raises FileError where there is none, FormatError for a file that is not a store, and
    MissingExtraError.
    """
    require_rag("a store")
    path = Path(path)
    with _opened(path) as database, database.snapshot():
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
            roots=tuple(read_roots(database, StorePaths(path.parent))),
        )


def documents(path: str | Path, where: Where | None = None) -> list[StoredDocument]:
    """The documents of a store, as `Store.documents`. Raises as `info`, and UsageError."""
    require_rag("a store")
    path = Path(path)
    condition = read_where(where)
    with _opened(path) as database:
        return list_stored(database, StorePaths(path.parent), condition)


def verify(path: str | Path) -> list[str]:
    """Return the problems of the database and the states, one line each; change nothing.

    Raises as `info`.
    """
    require_rag("checking a store")
    path = Path(path)
    with _opened(path) as database:
        found = [f"{path}: {line}" for line in verification.problems(database)]
        return found + list(StateFiles(path, database).problems())


def remove(path: str | Path, targets: Sequence[str | Path]) -> list[Removal]:
    """Remove documents from a store, as `Store.remove`. Raises as it does, and as `prune`."""
    require_rag("changing a store")
    path = Path(path)
    with _writable(path) as database:
        removals = remove_stored(database, StorePaths(path.parent), targets)
        StateFiles(path, database).remove_orphans()
        return removals


def prune(path: str | Path, max_state_bytes: int | None = None) -> int:
    """Remove the state files of deleted chunks, and shrink the database to what it uses.

    With `max_state_bytes`, also remove the least recently used states until the rest fits.
    Returns the number of states removed. Raises as `info`, and FileError for a store that
    cannot be changed, or while another writer adds.
    """
    require_rag("pruning a store")
    path = Path(path)
    with _writable(path) as database:
        files = StateFiles(path, database)
        removed = files.remove_orphans()
        if max_state_bytes is not None:
            removed += files.shrink(max_state_bytes)
        database.execute("vacuum")
        return removed


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Database]:
    check_exists(path)
    with contextlib.closing(open_database(path)) as database:
        yield database


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[Database]:
    with _opened(path) as database:
        database.check_writable()
        with write_lock(path):
            yield database
