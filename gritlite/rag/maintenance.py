"""Inspecting, checking and shrinking a store, without the model that made it."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FileError
from gritlite.rag import verification
from gritlite.rag.database import Database, check_exists
from gritlite.rag.extra import require_rag
from gritlite.rag.migrations import open_database
from gritlite.rag.paths import StorePaths
from gritlite.rag.roots import Root, forget_roots, read_roots, recorded_roots, root_finder
from gritlite.rag.settings import Settings
from gritlite.rag.sources import SourceRow, read_sources, stored_paths
from gritlite.rag.state_files import StateFiles, StateUsage
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


@dataclass(frozen=True)
class StoredDocument:
    """A document of a store.

    `path` and the file or folder by which it was indexed (`root`) are absolute; `bytes` and
    `modified_ns` are those of the file when it was read. It is `complete` once it is embedded.
    """

    path: Path
    root: Path
    bytes: int
    modified_ns: int
    chunks: int
    complete: bool

    @property
    def gone(self) -> bool:
        """Whether there is no file at the path now."""
        return not self.path.exists()


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


def documents(path: str | Path) -> list[StoredDocument]:
    """The documents of a store by root and path, changed ones as last read. Raises as `info`."""
    require_rag("a store")
    path = Path(path)
    with _opened(path) as database, database.snapshot():
        paths = StorePaths(path.parent)
        find = root_finder(database, paths)
        counts = dict(database.rows("select source, count(*) from chunk group by source"))
        rows: dict[str, SourceRow] = {}
        for row in read_sources(database):  # of a path the incomplete one, as last read, is first
            rows.setdefault(row.path, row)
        found = [
            StoredDocument(
                path=paths.path(name),
                root=find(name),
                bytes=row.size,
                modified_ns=row.mtime_ns,
                chunks=counts.get(row.id, 0),
                complete=bool(row.complete),
            )
            for name, row in rows.items()
        ]
    return sorted(found, key=lambda document: (document.root, document.path))


def verify(path: str | Path) -> list[str]:
    """Return the problems of the database and the states, one line each; change nothing.

    Raises as `info`.
    """
    require_rag("checking a store")
    path = Path(path)
    with _opened(path) as database:
        found = [f"{path}: {line}" for line in verification.problems(database)]
        return found + list(StateFiles(path, database).problems())


def remove(path: str | Path, targets: Sequence[str | Path]) -> list[Root]:
    """Remove documents, or all documents of folders; none of them has to exist on the disk.

    Returns the paths with the number of documents that were removed for each. Raises FileError
    for a path of which the store has nothing, and then removes nothing; also as `prune`.
    """
    require_rag("changing a store")
    path = Path(path)
    with _writable(path) as database:
        paths = StorePaths(path.parent)
        wanted = [paths.path(paths.name(Path(target))) for target in targets]
        inside = _by_target(stored_paths(database), wanted, paths)
        roots = _by_target(recorded_roots(database), wanted, paths)
        for target in wanted:
            if not inside[target] and not roots[target]:
                raise FileError(f"{path} has no document {target}, and none inside it")
        with database.transaction():
            for target, names in inside.items():
                rows = [(name,) for name in names]
                database.execute_many("delete from source where path = ?", rows)
                forget_roots(database, roots[target])
        StateFiles(path, database).remove_orphans()
    return [Root(target, len(names)) for target, names in inside.items()]


def _by_target(
    names: Sequence[str], targets: Sequence[Path], paths: StorePaths
) -> dict[Path, list[str]]:
    """Of each target the stored names that are it, or are inside of it."""
    found: dict[Path, list[str]] = {target: [] for target in targets}
    for name in names:
        path = paths.path(name)
        for target in (path, *path.parents):
            if target in found:
                found[target].append(name)
                break
    return found


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
