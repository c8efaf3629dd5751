"""The documents' rows in a store's database.

A document has at most two rows: a complete one, whose chunks are searched, and an
incomplete one of a newer version, whose chunks are not all embedded yet. Each row has a
checksum, which covers its metadata, and one of its chunks' ids, written by `seal` in the same
transaction.

A document is a file, or a text that the caller gave an id. The stored path of a text is its id
behind "./", with which no stored path of a file begins (see `paths`).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gritlite.rag.checksums import row_checksum
from gritlite.rag.chunking import Chunk
from gritlite.rag.chunks import insert_chunks
from gritlite.rag.database import Database
from gritlite.rag.formats import READER
from gritlite.rag.metadata import (
    Metadata,
    Value,
    as_metadata,
    metadata_rows,
    same_metadata,
    write_metadata,
)
from gritlite.rag.paths import StorePaths

_RACE_NS = 2_000_000_000  # a file written so shortly before it was read may change unnoticed
_COLUMNS = "id, path, digest, size, mtime_ns, read_ns, complete, reader, encoding, title"
_TYPES = (int, str, bytes, int, int, int, int, int, str, str)
_TEXT = "./"  # before the id of a text that is no file
_OF_FILES = f"substr(path, 1, {len(_TEXT)}) <> '{_TEXT}'"


def text_name(id: str) -> str:
    """The stored path of a text with this id."""
    return _TEXT + id


def text_id(name: str) -> str | None:
    """The id of the text that has this stored path; None for that of a file."""
    return name.removeprefix(_TEXT) if name.startswith(_TEXT) else None


@dataclass(frozen=True)
class NewSource:
    """What is known of a document when its row is inserted; `SourceRow` describes the fields."""

    path: str
    digest: bytes
    size: int
    mtime_ns: int
    read_ns: int
    encoding: str
    title: str
    metadata: Metadata


@dataclass(frozen=True)
class SourceRow:
    """A row: the stored path, SHA-256, size and time, when and how it was read, and its title.

    `metadata` is what the caller said of it.
    """

    id: int
    path: str
    digest: bytes
    size: int
    mtime_ns: int
    read_ns: int
    complete: int
    reader: int
    encoding: str
    title: str
    metadata: dict[str, Value]

    def document(self, paths: StorePaths) -> str:
        """How a user names the document: by the id of a text, or the absolute path of a file."""
        id = text_id(self.path)
        return str(paths.path(self.path)) if id is None else id

    def file(self, paths: StorePaths) -> Path | None:
        """The absolute path of a file; None for a text."""
        return paths.path(self.path) if text_id(self.path) is None else None

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
    """The stored paths of other files that are searched and have the same bytes."""
    sql = f"select path from source where digest = ? and complete and id <> ? and {_OF_FILES}"
    rows = database.rows(sql, (source.digest, source.id))
    return [database.typed(row, str)[0] for row in rows]


def stored_paths(database: Database) -> list[str]:
    """The stored paths of all files. Raises FormatError where one is no text."""
    rows = database.rows(f"select distinct path from source where {_OF_FILES}")
    return [database.typed(row, str)[0] for row in rows]


def _checked(database: Database, row: tuple[Any, ...]) -> SourceRow:
    values = database.typed(row, *_TYPES)
    metadata = metadata_rows(database, values[0])
    stored = database.row("select row from source_checksum where source = ?", (values[0],))
    if stored is None or stored[0] != _row_checksum(row, metadata):
        raise database.damaged(f"the entry of the document {values[1]!r} was changed")
    return SourceRow(*(*values, as_metadata(database, metadata)))


def _row_checksum(row: Sequence[object], metadata: Sequence[tuple[Any, ...]]) -> bytes:
    return row_checksum([*row, *(part for pair in metadata for part in pair)])


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


def insert_source(
    database: Database, new: NewSource, chunks: Sequence[Chunk], tokens: Sequence[int]
) -> None:
    """Insert an incomplete source and its chunks, with how many tokens each has.

    It replaces an incomplete one of the same path; a complete one is searched meanwhile. It is
    complete at once where it has no chunks.
    """
    with database.transaction():
        database.execute("delete from source where path = ? and not complete", (new.path,))
        source = database.execute(
            "insert into source (path, digest, size, mtime_ns, read_ns, reader, encoding, title)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(new.path, new.digest, new.size, new.mtime_ns, new.read_ns),
                *(READER, new.encoding, new.title),
            ),
        ).lastrowid
        assert source is not None
        write_metadata(database, source, new.metadata)
        insert_chunks(database, source, chunks, tokens)
        seal(database, source)
        if not chunks:
            complete_sources(database, [source])


def set_metadata(database: Database, source: SourceRow, metadata: Metadata | None) -> bool:
    """Give a source other metadata, within a transaction; None leaves what it has.

    Returns whether that changed it.
    """
    if metadata is None or same_metadata(metadata, source.metadata):
        return False
    write_metadata(database, source.id, metadata)
    seal(database, source.id)
    return True


def seal(database: Database, source: int) -> None:
    """Write the checksums of a source that was inserted or changed, and whose chunks are there."""
    row = database.required_row(f"select {_COLUMNS} from source where id = ?", (source,))
    of_row = _row_checksum(database.typed(row, *_TYPES), metadata_rows(database, source))
    database.execute(
        "insert or replace into source_checksum values (?, ?, ?)",
        (source, of_row, _chunks_checksum(database, source)),
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
