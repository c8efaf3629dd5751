"""The documents' rows in a store's database.

A document has at most two rows: a complete one, whose chunks are searched, and an
incomplete one of a newer version, whose chunks are not all embedded yet. Each row has a
checksum, and one of its chunks' ids, written by `seal` in the same transaction.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gritlite.rag.checksums import row_checksum
from gritlite.rag.database import Database
from gritlite.rag.formats import READER

_RACE_NS = 2_000_000_000  # a file written so shortly before it was read may change unnoticed
_COLUMNS = "id, path, digest, size, mtime_ns, read_ns, complete, reader, encoding"
_TYPES = (int, str, bytes, int, int, int, int, int, str)


@dataclass(frozen=True)
class SourceRow:
    """A row: the stored path, the file's SHA-256, size and time, and when and how it was read."""

    id: int
    path: str
    digest: bytes
    size: int
    mtime_ns: int
    read_ns: int
    complete: int
    reader: int
    encoding: str

    def was_read(self, encoding: str) -> bool:
        """Whether today's reader would read the same bytes the same way."""
        return (self.reader, self.encoding) == (READER, encoding)

    def is_current(self, path: Path) -> bool:
        """Whether the file's size and modification time show that it has not changed."""
        try:
            status = path.stat()
        except OSError:
            return False
        same = status.st_size == self.size and status.st_mtime_ns == self.mtime_ns
        return same and self.mtime_ns < self.read_ns - _RACE_NS


def find_source(database: Database, name: str, *, complete: bool) -> SourceRow | None:
    """The complete or the incomplete row of a document, by its stored path.

    Raises FormatError for one that is not as it was written.
    """
    row = database.row(
        f"select {_COLUMNS} from source where path = ? and complete = ?", (name, int(complete))
    )
    return None if row is None else _checked(database, row)


def read_source(database: Database, source: int) -> SourceRow:
    """The row with this id. Raises FormatError where there is none, or not as it was written."""
    return _checked(
        database, database.required_row(f"select {_COLUMNS} from source where id = ?", (source,))
    )


def read_sources(database: Database) -> Iterator[SourceRow]:
    """All rows, by path. Raises FormatError for one that is not as it was written."""
    for row in database.rows(f"select {_COLUMNS} from source order by path, complete"):
        yield _checked(database, row)


def copies(database: Database, source: SourceRow) -> list[str]:
    """The stored paths of other documents that are searched and have the same bytes."""
    sql = "select path from source where digest = ? and complete and id <> ?"
    rows = database.rows(sql, (source.digest, source.id))
    return [database.typed(row, str)[0] for row in rows]


def stored_paths(database: Database) -> list[str]:
    """The stored paths of all documents. Raises FormatError where one is no text."""
    rows = database.rows("select distinct path from source")
    return [database.typed(row, str)[0] for row in rows]


def _checked(database: Database, row: tuple[Any, ...]) -> SourceRow:
    source = SourceRow(*database.typed(row, *_TYPES))
    stored = database.row("select row from source_checksum where source = ?", (source.id,))
    if stored is None or stored[0] != row_checksum(row):
        raise database.damaged(f"the entry of the document {source.path!r} was changed")
    return source


def check_chunks(database: Database, source: SourceRow) -> None:
    """Raise FormatError unless a document has the chunks that it was given."""
    (stored,) = database.required_row(
        "select chunks from source_checksum where source = ?", (source.id,)
    )
    if stored != _chunks_checksum(database, source.id):
        raise database.damaged(f"the document {source.path!r} lost or gained a chunk")


def _chunks_checksum(database: Database, source: int) -> bytes:
    rows = database.rows("select id from chunk where source = ? order by id", (source,))
    return row_checksum([chunk for (chunk,) in rows])


def seal(database: Database, source: int) -> None:
    """Write the checksums of a source that was inserted or changed, and whose chunks are there."""
    row = database.required_row(f"select {_COLUMNS} from source where id = ?", (source,))
    database.execute(
        "insert or replace into source_checksum values (?, ?, ?)",
        (source, row_checksum(database.typed(row, *_TYPES)), _chunks_checksum(database, source)),
    )


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
            seal(database, source)
