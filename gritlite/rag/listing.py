"""The documents of a store as a user sees them, and removing some of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FileError
from gritlite.rag.database import Database
from gritlite.rag.metadata import Value
from gritlite.rag.paths import StorePaths
from gritlite.rag.roots import forget_roots, recorded_roots, root_finder
from gritlite.rag.sources import SourceRow, read_sources, stored_paths, text_name
from gritlite.rag.where import Clause


@dataclass(frozen=True)
class StoredDocument:
    """A document of a store: a file, or a text that is none.

    `id` is that of a text, or the absolute path of a file; `title` and `metadata` may be empty.
    `path` and the file or folder by which it was indexed (`root`) are absolute, and None for a
    text. `bytes` and `modified_ns` are those of the file when it was read, at `read_ns`; a text
    was given when it was read. It has `chunks` passages, and is `complete` once it is embedded.
    Times are nanoseconds since 1970.
    """

    id: str
    title: str
    metadata: dict[str, Value]
    path: Path | None
    root: Path | None
    bytes: int
    modified_ns: int
    read_ns: int
    chunks: int
    complete: bool

    @property
    def gone(self) -> bool:
        """Whether it is a file, and there is none at its path now."""
        return self.path is not None and not self.path.exists()


@dataclass(frozen=True)
class Removal:
    """What was removed: the id of a text, or an absolute path, and how many documents of it."""

    target: str
    documents: int


def list_stored(
    database: Database, paths: StorePaths, where: Clause | None = None
) -> list[StoredDocument]:
    """The documents for which `where` holds, changed ones as last read; files by root and path.

    Texts follow the files, by their ids.
    """
    with database.snapshot():
        find = root_finder(database, paths)
        counts = Counter(dict(database.rows("select source, count(*) from chunk group by source")))
        wanted = None if where is None else _sources_where(database, where)
        rows: dict[str, SourceRow] = {}
        for row in read_sources(database):  # of a path the incomplete one, as last read, is first
            rows.setdefault(row.path, row)
        found = [
            StoredDocument(
                id=row.document(paths),
                title=row.title,
                metadata=row.metadata,
                path=row.file(paths),
                root=None if row.file(paths) is None else find(row.path),
                bytes=row.size,
                modified_ns=row.mtime_ns,
                read_ns=row.read_ns,
                chunks=counts[row.id],
                complete=bool(row.complete),
            )
            for row in rows.values()
            if wanted is None or row.id in wanted
        ]
    return sorted(found, key=_place)


def _place(document: StoredDocument) -> tuple[bool, Path, Path, str]:
    nowhere = Path()
    return (
        document.path is None,
        document.root or nowhere,
        document.path or nowhere,
        document.id,
    )


def _sources_where(database: Database, where: Clause) -> set[int]:
    rows = database.rows(f"select id from source where {where.sql}", where.parameters)
    return {id for (id,) in rows}


def remove_stored(
    database: Database, paths: StorePaths, targets: Sequence[str | Path]
) -> list[Removal]:
    """Remove documents: texts by their ids, files, and all documents of folders.

    A str that is the id of a text means that text; any other, and a Path, means a file or
    folder. Raises FileError for what the store does not have, and then removes nothing. Nobody
    else may write to the database meanwhile.
    """
    texts: list[str] = []
    given: dict[Path, str | Path] = {}
    for target in targets:
        if isinstance(target, str) and _has(database, target):
            texts.append(target)
        else:
            given[paths.path(paths.name(Path(target)))] = target
    files = list(given)
    inside = _by_target(stored_paths(database), files, paths)
    roots = _by_target(recorded_roots(database), files, paths)
    for path, target in given.items():
        if not inside[path] and not roots[path]:
            no_text = f" no text {target!r} and" if isinstance(target, str) else ""
            raise FileError(f"{database.path} has{no_text} no document {path}, and none inside it")
    removals = {id: Removal(id, 1) for id in texts}
    with database.transaction():
        for names in (*inside.values(), [text_name(id) for id in texts]):
            rows = [(name,) for name in names]
            database.execute_many("delete from source where path = ?", rows)
        for path in files:
            forget_roots(database, roots[path])
            removals[str(path)] = Removal(str(path), len(inside[path]))
    return list(removals.values())


def _has(database: Database, id: str) -> bool:
    """Whether there is a text with this id."""
    return database.row("select 1 from source where path = ?", (text_name(id),)) is not None


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
