"""Whether a store's database holds what gritlite wrote: every row, vector and index.

Each checksum is compared, so that any edit of a row that could change an answer is found,
and FTS5 compares its index with the chunks. Knows no model: a vector is what was stored, not
what the model would compute today.
"""

from collections.abc import Callable, Iterator

from gritlite.errors import FormatError
from gritlite.rag.checksums import blob_checksum
from gritlite.rag.chunks import COLUMNS, checked_chunk
from gritlite.rag.database import Database
from gritlite.rag.settings import Settings
from gritlite.rag.sources import check_chunks, read_source
from gritlite.system.wording import printable


def problems(database: Database) -> list[str]:
    """What is wrong, one line each; nothing is changed."""
    with database.snapshot():
        rows = database.rows("pragma integrity_check")
        found = [printable(line) for (line,) in rows if line != "ok"]
        found += [
            f"a row of the table {table} refers to a row that does not exist"
            for table, *_ in database.rows("pragma foreign_key_check")
        ]
        for check in (_settings, _sources, _chunks, _vectors):
            found += _told(database, check)
    return found + _told(database, _words)


def _told(database: Database, check: Callable[[Database], Iterator[str]]) -> list[str]:
    """The lines of a check, and the reason why it could not go on."""
    lines: list[str] = []
    try:
        lines.extend(check(database))  # keeps what came before an error
    except FormatError as error:
        lines.append(_problem(error, database))
    return lines


def _settings(database: Database) -> Iterator[str]:
    Settings.load(database)
    if len([database.typed(row, int) for row in database.rows("select * from generation")]) != 1:
        yield "the number of the last change is missing, or there are several"
    for row in database.rows("select path from root"):
        database.typed(row, str)


def _sources(database: Database) -> Iterator[str]:
    for (source,) in database.rows("select id from source"):
        try:
            check_chunks(database, read_source(database, source))
        except FormatError as error:
            yield _problem(error, database)


def _chunks(database: Database) -> Iterator[str]:
    rows = database.rows(
        f"select {COLUMNS}, chunk_checksum.row from chunk"
        " left join chunk_checksum on chunk = chunk.id"
    )
    for row in rows:
        try:
            checked_chunk(database, row)
        except FormatError as error:
            yield _problem(error, database)


def _vectors(database: Database) -> Iterator[str]:
    binary = Settings.load(database).vectors == "binary"
    lengths = set()
    rows = database.rows(
        "select chunk.id, complete, vector.vector, vector.bits, chunk_checksum.vector,"
        " chunk_checksum.bits from chunk join source on source.id = source"
        " left join vector on vector.chunk = chunk.id"
        " left join chunk_checksum on chunk_checksum.chunk = chunk.id"
    )
    for chunk, complete, vector, bits, of_vector, of_bits in rows:
        if vector is None and of_vector is None and not complete:
            continue  # not embedded yet
        right = _agrees(vector, of_vector, chunk)
        if right and (_agrees(bits, of_bits, chunk) if binary else bits is None):
            lengths.add(len(vector))
        else:
            yield f"the vector of chunk {chunk} is missing or was changed"
    if len(lengths) > 1:
        yield "the vectors have different lengths"


def _agrees(data: object, checksum: object, chunk: int) -> bool:
    return isinstance(data, bytes) and checksum == blob_checksum(data, chunk)


def _words(database: Database) -> Iterator[str]:
    """FTS5's own check. It is a statement that writes, though it changes nothing."""
    if database.read_only:
        database.copy_to_temporary()
    try:
        database.execute("insert into words (words, rank) values ('integrity-check', 1)")
    except FormatError:
        yield "the full-text index does not agree with the chunks"


def _problem(error: FormatError, database: Database) -> str:
    text = str(error).removeprefix(f"{database.path} is damaged: ")
    return text.removesuffix(": index into a new store")
