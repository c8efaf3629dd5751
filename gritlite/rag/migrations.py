"""Opening a store of any format: an older one is brought up to date first.

Each migration is one function from one format to the next. All run in one transaction, so a
killed process leaves the old format. A store that can only be read is migrated in a private
copy, which lasts as long as the connection.
"""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from gritlite.rag import schema
from gritlite.rag.checksums import row_checksum
from gritlite.rag.chunks import COLUMNS, seal_chunk, seal_vector
from gritlite.rag.database import Database
from gritlite.rag.settings import Settings
from gritlite.rag.sources import seal
from gritlite.rag.write_lock import write_lock

_COLUMNS_3 = "id, path, digest, size, mtime_ns, read_ns, complete, reader, encoding"
_PATIENCE = 30.0  # seconds to wait for another process that migrates, or adds documents


def open_database(path: Path) -> Database:
    """Connect to a store, or create it; its tables are those of the current format.

    Raises FileError and FormatError as `Database`, FormatError for a damaged store, and
    FileError while another process writes to a store of an older format.
    """
    database = Database(path)
    try:
        if database.format < schema.FORMAT:
            if database.read_only:
                database.copy_to_temporary()
                _migrate(database)
            else:
                with write_lock(path, patience=_PATIENCE):
                    _migrate(database)
        _check_tables(database)
    except BaseException:
        database.close()
        raise
    return database


def _migrate(database: Database) -> None:
    with database.transaction():
        version = database.number("pragma user_version")  # another process may have been faster
        for step in range(version, schema.FORMAT):
            _MIGRATIONS[step](database)
        database.execute(f"pragma user_version = {schema.FORMAT}")


def _check_tables(database: Database) -> None:
    """Raise FormatError unless the tables are those of a new store.

    Other tables and indexes do no harm, but a trigger could change what is written.
    """
    expected, found = schema.expected_objects(), database.objects()
    for kind, name, _ in sorted(expected - found):
        raise database.damaged(f"its {kind} {name} is missing or changed")
    for kind, name, _ in found - expected:
        if kind == "trigger":
            raise database.damaged(f"it has a trigger {name!r} that gritlite did not make")


def _fold_texts(database: Database) -> None:
    """From format 1, whose full-text index knew no folded texts."""
    wrong = "select 1 from chunk where typeof(heading) <> 'text' or typeof(text) <> 'text'"
    if database.row(wrong) is not None:
        raise database.damaged("a text is missing or was changed")
    database.change_tables(schema.fold_texts)


def _add_checksums(database: Database) -> None:
    """From format 2, which had neither checksums nor roots. What is there is taken as right."""
    database.change_tables(schema.add_checksum_tables)
    database.execute("insert or ignore into setting values ('main_text', 'False')")
    Settings.read(database).save(database)
    for row in database.rows(f"select {COLUMNS} from chunk"):
        seal_chunk(database, row)
    for chunk, data, bits in database.rows("select chunk, vector, bits from vector"):
        if not isinstance(data, bytes) or not isinstance(bits, bytes | None):
            raise database.damaged(f"the vector of chunk {chunk} is missing or was changed")
        seal_vector(database, chunk, data, bits)
    for row in database.rows(f"select {_COLUMNS_3} from source"):
        chunks = database.rows("select id from chunk where source = ? order by id", (row[0],))
        database.execute(
            "insert into source_checksum values (?, ?, ?)",
            (row[0], row_checksum(row), row_checksum([chunk for (chunk,) in chunks])),
        )


def _add_metadata(database: Database) -> None:
    """From format 3, whose documents had neither titles nor metadata.

    The first heading of a document's chunks begins with its title, in front of " > ". A row
    that was changed is not taken as right: it keeps a checksum that does not fit.
    """
    database.change_tables(schema.add_metadata_tables)
    rows = database.rows(
        f"select {_COLUMNS_3}, source_checksum.row, (select heading from chunk"
        " where chunk.source = source.id order by chunk.id limit 1)"
        " from source left join source_checksum on source = source.id"
    )
    for *values, checksum, heading in list(rows):
        if checksum != row_checksum(values):
            continue
        title = str(heading or "").partition(" > ")[0] or PurePosixPath(values[1]).stem
        database.execute("update source set title = ? where id = ?", (title, values[0]))
        seal(database, values[0])


_MIGRATIONS: dict[int, Callable[[Database], None]] = {
    1: _fold_texts,
    2: _add_checksums,
    3: _add_metadata,
}
