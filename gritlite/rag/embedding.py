"""Indexing, step two: embed the chunks that have no vector yet.

The vectors of a few passes are written in one transaction; the one that completes a
document deletes its old rows. A process may be killed at any moment: the next run
embeds what is left.
"""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from gritlite.rag.chunks import ChunkRow, chunk_rows, insert_vectors
from gritlite.rag.database import Database
from gritlite.rag.paths import StorePaths
from gritlite.rag.sources import complete_sources, read_source
from gritlite.rag.states import States
from gritlite.rag.vectors import VectorType
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.located_errors import located_errors
from gritlite.runtime.state import DocumentState
from gritlite.system.progress import ProgressCallback

_PAGE = 512  # chunks that are fetched at once


@dataclass(frozen=True)
class Pending:
    """How many chunks are left to embed, and their tokens together."""

    chunks: int
    tokens: int


def count_pending(database: Database) -> Pending:
    """What is left to embed, of this and earlier runs."""
    pending = (
        "from chunk join source on source.id = source where not complete"
        " and chunk.id not in (select chunk from vector)"
    )
    return Pending(
        database.number(f"select count(*) {pending}"),
        database.number(f"select coalesce(sum(tokens), 0) {pending}"),
    )


def first_pending(database: Database, tokens: int) -> list[ChunkRow]:
    """The chunks that will be embedded first, up to the one that reaches so many tokens."""
    chunks: list[ChunkRow] = []
    for chunk in _pending_chunks(database):
        chunks.append(chunk)
        tokens -= chunk.tokens
        if tokens <= 0:
            break
    return chunks


def _pending_chunks(database: Database) -> Iterator[ChunkRow]:
    """The pending chunks, a page at a time, since rows are written meanwhile."""
    last = 0
    while True:
        condition = (
            "not complete and chunk.id > ? and chunk.id not in (select chunk from vector)"
            " order by chunk.id limit ?"
        )
        page = list(chunk_rows(database, condition, (last, _PAGE)))
        if not page:
            return
        yield from page
        last = page[-1].id


def place_of(database: Database, paths: StorePaths, chunk: ChunkRow) -> str:
    """Where a chunk is from: its document, and its place there if that is known."""
    document = read_source(database, chunk.source).document(paths)
    return f"{document}, {chunk.place}" if chunk.place else document


def embed_pending(
    database: Database,
    paths: StorePaths,
    model: AnyModel,
    vector_type: VectorType,
    dimensions: int | None,
    states: States | None,
    progress: ProgressCallback,
    cancel: threading.Event | None,
) -> None:
    """Embed what is pending; a document's chunks are searched once all are embedded.

    States are kept from the same passes while their budget lasts; those of earlier runs
    make room for them, the least recently used first. `progress` counts tokens. Raises
    CancelledError within one pass of `cancel` being set; what was written stays. `dimensions`
    is how many of a vector's numbers are kept, None for all.
    """
    total, done = count_pending(database).tokens, 0
    progress(done, total)
    in_flight: deque[ChunkRow] = deque()
    first = 0  # the number of the first text in flight
    writer = _StateWriter(states) if states is not None else None

    def texts() -> Iterator[str]:
        for chunk in _pending_chunks(database):
            in_flight.append(chunk)
            yield chunk.embedded

    def keep(number: int, state: DocumentState) -> None:
        if writer is not None:
            writer.write(in_flight[number - first], state)

    def embedded(count: int) -> None:
        ahead = islice(in_flight, max(count - first, 0))  # their vectors are still to come
        progress(done + sum(chunk.tokens for chunk in ahead), total)

    keep_states = keep if writer else None
    with located_errors(lambda index: place_of(database, paths, in_flight[index - first])):
        stream = model.encode_stream(
            texts(), dimensions=dimensions, cancel=cancel, keep=keep_states, progress=embedded
        )
        for vectors in stream:
            chunks = [in_flight.popleft() for _ in vectors]
            first += len(chunks)
            with database.transaction():
                insert_vectors(database, [chunk.id for chunk in chunks], vectors, vector_type)
                if writer is not None:
                    writer.record()
                complete_sources(database, {chunk.source for chunk in chunks})
            if states is not None:
                states.fit_budget()
            done += sum(chunk.tokens for chunk in chunks)
            progress(done, total)


class _StateWriter:
    """Writes states as they are computed, and records them together with their vectors.

    States of this run evict those of earlier runs, but not each other.
    """

    def __init__(self, states: States) -> None:
        self._states = states
        self._room = states.budget
        self._written: dict[int, int] = {}  # bytes by chunk

    def write(self, chunk: ChunkRow, state: DocumentState) -> None:
        """Write a state's file, if the budget has room for it."""
        if self._room <= 0:
            return
        size = self._states.write(chunk.id, "doc", state)
        self._room -= size
        if self._room >= 0:
            self._written[chunk.id] = size
        else:
            self._states.files.remove(chunk.id, "doc")

    def record(self) -> None:
        """Record the states that were written since the last call."""
        for chunk, size in self._written.items():
            self._states.files.record(chunk, "doc", size)
        self._written.clear()
