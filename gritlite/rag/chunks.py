"""The chunks' rows in a store's database, with their vectors; each has its checksum.

What is read is compared with its checksum before it is used: FormatError says that it is
not as it was written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gritlite.rag.checksums import blob_checksum, row_checksum
from gritlite.rag.chunking import Chunk
from gritlite.rag.database import Database
from gritlite.rag.folding import folded
from gritlite.rag.vectors import Matrix, VectorType, packed, stored_bytes
from gritlite.runtime.embed import Vectors

COLUMNS = (
    "chunk.id, chunk.source, heading, place, text, embedded, tokens, folded_heading, folded_text"
)
_TYPES = (int, int, str, str, str, str, int)  # the folded texts may be null


@dataclass(frozen=True)
class ChunkRow:
    """A chunk: the id of its source, and its text as it is shown and as it is embedded."""

    id: int
    source: int
    heading: str
    place: str
    text: str
    embedded: str
    tokens: int


def insert_chunks(
    database: Database, source: int, chunks: Sequence[Chunk], tokens: Sequence[int]
) -> None:
    """Insert the chunks of a source, and how many tokens each has."""
    for chunk, count in zip(chunks, tokens, strict=True):
        values = (
            *(source, chunk.heading, chunk.place, chunk.text, chunk.embedded, count),
            *(folded(chunk.heading), folded(chunk.text)),
        )
        id = database.execute(
            "insert into chunk (source, heading, place, text, embedded, tokens,"
            " folded_heading, folded_text) values (?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        ).lastrowid
        seal_chunk(database, (id, *values))


def seal_chunk(database: Database, row: Sequence[object]) -> None:
    """Write the checksum of a chunk's row."""
    database.execute(
        "insert into chunk_checksum (chunk, row) values (?, ?)", (row[0], row_checksum(row))
    )


def insert_vectors(
    database: Database, chunks: Sequence[int], vectors: Vectors, vector_type: VectorType
) -> None:
    """Insert the vectors [n, d] of n chunks."""
    for chunk, vector in zip(chunks, vectors, strict=True):
        data, bits = packed(vector, vector_type)
        database.execute("insert into vector values (?, ?, ?)", (chunk, data, bits))
        seal_vector(database, chunk, data, bits)


def seal_vector(database: Database, chunk: int, data: bytes, bits: bytes | None) -> None:
    """Write the checksums of a chunk's vector and of its bits."""
    of_bits = None if bits is None else blob_checksum(bits, chunk)
    database.execute(
        "update chunk_checksum set vector = ?, bits = ? where chunk = ?",
        (blob_checksum(data, chunk), of_bits, chunk),
    )


def chunk_rows(
    database: Database, condition: str, parameters: Sequence[object] = ()
) -> Iterator[ChunkRow]:
    """The chunks for which an SQL condition, of chunk and its source, holds."""
    rows = database.rows(
        f"select {COLUMNS}, chunk_checksum.row from chunk join source on source.id = source"
        f" left join chunk_checksum on chunk = chunk.id where {condition}",
        parameters,
    )
    for row in rows:
        yield checked_chunk(database, row)


def read_chunk(database: Database, chunk: int) -> ChunkRow:
    """The chunk with this id."""
    return checked_chunk(
        database,
        database.required_row(
            f"select {COLUMNS}, chunk_checksum.row from chunk"
            " left join chunk_checksum on chunk = chunk.id where chunk.id = ?",
            (chunk,),
        ),
    )


def checked_chunk(database: Database, row: tuple[Any, ...]) -> ChunkRow:
    """A chunk of a row of `COLUMNS` and its checksum."""
    *values, checksum = row
    if checksum != row_checksum(values):
        raise database.damaged(f"chunk {values[0]} was changed")
    return ChunkRow(*database.typed(tuple(values[: len(_TYPES)]), *_TYPES))


def load_matrix(database: Database, vector_type: VectorType, dimension: int) -> Matrix:
    """What a search reads: the vectors, or their bits, of the chunks of complete sources."""
    column = "bits" if vector_type == "binary" else "vector"
    width = stored_bytes(dimension, vector_type, searched=True)
    ids: list[int] = []
    codes = bytearray()
    for row in database.rows(
        f"select chunk.id, vector.{column}, chunk_checksum.{column} from chunk"
        " join source on source.id = source left join vector on vector.chunk = chunk.id"
        " left join chunk_checksum on chunk_checksum.chunk = chunk.id"
        " where complete order by chunk.id"
    ):
        ids.append(row[0])
        codes += _checked_blob(database, row, width)
    rows = np.frombuffer(codes, np.uint8).reshape(len(ids), width)
    if vector_type == "float32":
        with np.errstate(all="ignore"):
            if not np.isfinite(rows.view("<f4").sum()):
                raise database.damaged("a vector has numbers that are not finite")
    return Matrix(vector_type, np.array(ids, np.int64), rows)


def read_vectors(
    database: Database, chunks: list[int], vector_type: VectorType, dimension: int
) -> list[bytes]:
    """The stored vectors of chunks, by their ids."""
    marks = ", ".join("?" * len(chunks))
    width = stored_bytes(dimension, vector_type, searched=False)
    rows = database.rows(
        "select vector.chunk, vector.vector, chunk_checksum.vector from vector"
        " left join chunk_checksum on chunk_checksum.chunk = vector.chunk"
        f" where vector.chunk in ({marks}) order by vector.chunk",
        chunks,
    )
    found = [_checked_blob(database, row, width) for row in rows]
    if len(found) != len(chunks):
        raise database.damaged("a vector is missing")
    return found


def _checked_blob(database: Database, row: tuple[int, object, object], width: int) -> bytes:
    """The vector or the bits of a chunk, whose checksum and length must be right."""
    chunk, data, checksum = row
    if not isinstance(data, bytes) or len(data) != width or checksum != blob_checksum(data, chunk):
        raise database.damaged(f"the vector of chunk {chunk} is missing or was changed")
    return data
