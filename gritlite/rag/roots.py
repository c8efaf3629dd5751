"""The files and folders that were indexed, the documents of each, and what is gone of them.

A root that no longer exists was moved, deleted, or lies on a disk that is not mounted. Nobody
can tell which, so its documents stay in the store until somebody removes them.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gritlite.rag.database import Database
from gritlite.rag.paths import StorePaths
from gritlite.rag.sources import stored_paths


@dataclass(frozen=True)
class Root:
    """An indexed file or folder, as an absolute path, and how many documents are of it."""

    path: Path
    documents: int

    @property
    def gone(self) -> bool:
        """Whether there is neither a file nor a folder at the path now."""
        return not self.path.exists()


def record_roots(database: Database, paths: StorePaths, indexed: Iterable[Path]) -> None:
    """Remember files and folders that were indexed, unless they are inside of others."""
    known = {paths.path(name) for name in recorded_roots(database)}
    for path in sorted(indexed):
        if not any(folder in known and folder.is_dir() for folder in (path, *path.parents)):
            database.execute("insert or ignore into root values (?)", (paths.name(path),))
            known.add(path)


def forget_roots(database: Database, names: Iterable[str]) -> None:
    """Forget the stored paths of files and folders."""
    database.execute_many("delete from root where path = ?", [(name,) for name in names])


def recorded_roots(database: Database) -> list[str]:
    """The stored paths of the files and folders that were indexed."""
    return [database.typed(row, str)[0] for row in database.rows("select path from root")]


def read_roots(database: Database, paths: StorePaths) -> list[Root]:
    """The roots of all documents, by path."""
    find = root_finder(database, paths)
    counts = Counter({paths.path(name): 0 for name in recorded_roots(database)})
    for name in stored_paths(database):
        counts[find(name)] += 1
    return [Root(path, count) for path, count in sorted(counts.items())]


def root_finder(database: Database, paths: StorePaths) -> Callable[[str], Path]:
    """A function of a document's stored path that returns its root.

    That is the nearest of those that were indexed. A document without one, in a store made by
    an older version, has its folder as root.
    """
    names = set(recorded_roots(database))
    recorded = {paths.path(name) for name in names}

    @functools.cache  # a folder has many documents
    def of_folder(name: str) -> Path:
        folder = paths.path(name)
        above = (parent for parent in (folder, *folder.parents) if parent in recorded)
        return next(above, folder)

    def find(name: str) -> Path:
        return paths.path(name) if name in names else of_folder(name.rpartition("/")[0])

    return find


def name_below(path: Path, root: Path) -> str:
    """A document's path from its root on, without the folders above: "notes/inn.md"."""
    if path == root:
        return path.name
    return Path(root.name, path.relative_to(root)).as_posix()
