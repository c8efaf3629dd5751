"""The documents' rows in a store's database.

A document has at most two rows: a complete one, whose chunks are searched, and an
incomplete one of a newer version, whose chunks are not all embedded yet.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from gritlite.rag.database import Database

_RACE_NS = 2_000_000_000  # a file written so shortly before it was read may change unnoticed


@dataclass(frozen=True)
class SourceRow:
    """A row: the file's SHA-256, size and modification time, and when it was read."""

    id: int
    digest: bytes
    size: int
    mtime_ns: int
    read_ns: int

    def is_current(self, path: Path) -> bool:
        """Whether the file's size and modification time show that it has not changed."""
        try:
            status = path.stat()
        except OSError:
            return False
        same = status.st_size == self.size and status.st_mtime_ns == self.mtime_ns
        return same and self.mtime_ns < self.read_ns - _RACE_NS


def find_source(database: Database, name: str, *, complete: bool) -> SourceRow | None:
    """The complete or the incomplete row of a document, by its stored path."""
    row = database.row(
        "select id, digest, size, mtime_ns, read_ns from source where path = ? and complete = ?",
        (name, int(complete)),
    )
    return SourceRow(*row) if row else None


def complete_sources(database: Database, sources: Collection[int]) -> None:
    """Complete the sources whose chunks all have vectors: they replace their old rows."""
    for source in sources:
        missing = database.row(
            "select 1 from chunk where source = ? and id not in (select chunk from vector)",
            (source,),
        )
        if missing is None:
            database.execute(
                "delete from source where complete"
                " and path = (select path from source where id = ?)",
                (source,),
            )
            database.execute("update source set complete = 1 where id = ?", (source,))
