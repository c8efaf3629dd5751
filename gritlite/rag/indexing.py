"""Bringing a store up to date: what changed is read and cut, then embedded.

Both steps may be killed at any moment. Reading a file is one transaction;
embedding writes the vectors of a few passes in one, and in the one that
completes a file its old rows go. The next run finds what is left to do in the
database alone.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gritlite.errors import DocumentError
from gritlite.rag.chunking import Chunk, cut
from gritlite.rag.database import Database
from gritlite.rag.document_reader import DocumentReader, Snapshot, snapshot
from gritlite.rag.folder import Listing
from gritlite.rag.paths import StorePaths
from gritlite.rag.states import States
from gritlite.rag.vectors import VectorType, packed
from gritlite.runtime.model import GritLM
from gritlite.runtime.state import DocumentState

Progress = Callable[[int, int], None]  # done, in all

_SETTLED_NS = 2_000_000_000  # a file that was just written may be written again unnoticed
_PAGE = 512  # chunks that are fetched at once


@dataclass(frozen=True)
class Changes:
    """How many files were found to be what, and which could not be read, and why.

    `empty` files are among `added` and `changed`, as are those of which something is
    `warnings`; a file that could not be read keeps the rows it has.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    empty: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pending:
    """What is left to embed."""

    chunks: int
    tokens: int


@dataclass(frozen=True)
class PendingChunk:
    """A chunk without a vector, of the source whose id is `source`."""

    id: int
    source: int
    embedded: str
    tokens: int


@dataclass(frozen=True)
class _Known:
    """A source's row."""

    id: int
    digest: bytes
    size: int
    mtime_ns: int
    read_ns: int

    def is_current(self, path: Path) -> bool:
        """Whether the file's size and time tell that it is as it was read."""
        try:
            status = path.stat()
        except OSError:
            return False
        same = status.st_size == self.size and status.st_mtime_ns == self.mtime_ns
        return same and self.mtime_ns < self.read_ns - _SETTLED_NS


@dataclass
class _Tally:
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    empty: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class _Keeping:
    """The states of chunks under way: written as they come, entered with their vectors.

    They make those of earlier runs go, but not each other.
    """

    def __init__(self, states: States) -> None:
        self.states = states
        self._room = states.budget
        self._written: dict[int, int] = {}

    def write(self, chunk: PendingChunk, state: DocumentState) -> None:
        if self._room <= 0:
            return
        size = self.states.write(chunk.id, "doc", state)
        self._room -= size
        if self._room >= 0:
            self._written[chunk.id] = size
        else:
            self.states.ledger.remove(chunk.id, "doc")

    def enter(self) -> None:
        for chunk, size in self._written.items():
            self.states.ledger.enter(chunk, "doc", size)
        self._written.clear()


class Indexing:
    """One run over a database, which nobody else writes to meanwhile."""

    def __init__(
        self, database: Database, places: StorePaths, model: GritLM, states: States | None
    ) -> None:
        self._database = database
        self._places = places
        self._model = model
        self._states = states

    def read(
        self, listing: Listing, gone: Collection[Path], budget: int, progress: Progress
    ) -> Changes:
        """Cut what is new or changed into chunks of `budget` tokens.

        Forget the files `gone`, and those that have gone from the listed folders.
        """
        tally = _Tally()
        with DocumentReader() as reader:
            for number, path in enumerate(listing.files):
                progress(number, len(listing.files))
                try:
                    self._read(path, reader, budget, tally)
                except DocumentError as error:
                    tally.failed.append(str(error))
        progress(len(listing.files), len(listing.files))
        return Changes(
            tally.added,
            tally.changed,
            tally.unchanged,
            self._forget_removed(listing, gone),
            tuple(tally.empty),
            tuple(tally.warnings),
            tuple(tally.failed),
        )

    def _read(self, path: Path, reader: DocumentReader, budget: int, tally: _Tally) -> None:
        name = self._places.name(path)
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DocumentError(f"the name of {path} is not UTF-8: rename the file") from error
        complete, begun = self._known(name, complete=1), self._known(name, complete=0)
        newest = begun or complete
        if newest is not None and newest.is_current(path):
            tally.unchanged += 1
            return
        read_ns = time.time_ns()
        found = snapshot(path)
        for known in (begun, complete):
            if known is not None and known.digest == found.digest:
                self._confirm(known, begun if known is complete else None, found, read_ns)
                tally.unchanged += 1
                return
        document = reader.read(found.data, path)
        chunks = list(cut(document, lambda text: len(self._model.tokenize(text)), budget))
        self._begin(name, begun, found, read_ns, chunks)
        if newest is None:
            tally.added += 1
        else:
            tally.changed += 1
        if not chunks:
            tally.empty.append(path)
        if document.warning:
            tally.warnings.append(f"{path}: {document.warning}")

    def _known(self, name: str, *, complete: int) -> _Known | None:
        row = self._database.row(
            "select id, digest, size, mtime_ns, read_ns from source"
            " where path = ? and complete = ?",
            (name, complete),
        )
        return _Known(*row) if row else None

    def _confirm(self, known: _Known, begun: _Known | None, found: Snapshot, read_ns: int) -> None:
        """The bytes are as before: note the file's new time, and drop what was `begun` besides."""
        with self._database.transaction():
            if begun is not None:
                self._database.execute("delete from source where id = ?", (begun.id,))
            self._database.execute(
                "update source set mtime_ns = ?, read_ns = ? where id = ?",
                (found.mtime_ns, read_ns, known.id),
            )

    def _begin(
        self,
        name: str,
        begun: _Known | None,
        found: Snapshot,
        read_ns: int,
        chunks: list[Chunk],
    ) -> None:
        """Put the chunks of a file beside those that are searched until they are embedded."""
        tokens = [len(self._model.tokenize(chunk.embedded)) for chunk in chunks]
        with self._database.transaction():
            if begun is not None:
                self._database.execute("delete from source where id = ?", (begun.id,))
            source = self._database.execute(
                "insert into source (path, digest, size, mtime_ns, read_ns) values (?, ?, ?, ?, ?)",
                (name, found.digest, len(found.data), found.mtime_ns, read_ns),
            ).lastrowid
            assert source is not None
            self._database.execute_many(
                "insert into chunk (source, heading, place, text, embedded, tokens)"
                " values (?, ?, ?, ?, ?, ?)",
                [
                    (source, chunk.heading, chunk.place, chunk.text, chunk.embedded, count)
                    for chunk, count in zip(chunks, tokens, strict=True)
                ],
            )
            if not chunks:
                self._complete({source})

    def _forget_removed(self, listing: Listing, gone: Collection[Path]) -> int:
        """Drop the sources that are `gone`, or stood in the listed folders and do so no more."""
        present = {self._places.name(path) for path in listing.files}
        stored = [name for (name,) in self._database.rows("select distinct path from source")]
        forgotten = {self._places.name(path) for path in gone}
        forgotten.update(
            name
            for name in stored
            if name not in present and self._places.is_inside(name, listing.folders)
        )
        with self._database.transaction():
            for name in forgotten:
                self._database.execute("delete from source where path = ?", (name,))
        return len(forgotten)

    def pending(self) -> Pending:
        """What is left to embed, also of earlier runs."""
        missing = (
            "from chunk join source on source.id = source where not complete"
            " and chunk.id not in (select chunk from vector)"
        )
        return Pending(
            self._database.number(f"select count(*) {missing}"),
            self._database.number(f"select coalesce(sum(tokens), 0) {missing}"),
        )

    def first_pending(self, tokens: int) -> list[PendingChunk]:
        """Those that will be embedded first, of so many tokens together or a little more."""
        found: list[PendingChunk] = []
        for chunk in self._pending_chunks():
            found.append(chunk)
            tokens -= chunk.tokens
            if tokens <= 0:
                break
        return found

    def embed(self, vector_type: VectorType, progress: Progress) -> None:
        """Embed what is pending and make each file's chunks the searched ones when all are done.

        States are kept of the same passes while their budget lasts; those of earlier
        runs make room for them, the ones used longest ago first.
        """
        total, done = self.pending().tokens, 0
        progress(done, total)
        under_way: deque[PendingChunk] = deque()
        first = 0  # the number of the first text that is under way
        keeping = _Keeping(self._states) if self._states is not None else None

        def texts() -> Iterator[str]:
            for chunk in self._pending_chunks():
                under_way.append(chunk)
                yield chunk.embedded

        def keep(number: int, state: DocumentState) -> None:
            if keeping is not None:
                keeping.write(under_way[number - first], state)

        for vectors in self._model.encode_stream(texts(), keep=keep if keeping else None):
            chunks = [under_way.popleft() for _ in vectors]
            first += len(chunks)
            with self._database.transaction():
                self._database.execute_many(
                    "insert into vector (chunk, vector, bits) values (?, ?, ?)",
                    [
                        (chunk.id, *packed(vector, vector_type))
                        for chunk, vector in zip(chunks, vectors, strict=True)
                    ],
                )
                if keeping is not None:
                    keeping.enter()
                self._complete({chunk.source for chunk in chunks})
            if keeping is not None:
                keeping.states.fit()
            done += sum(chunk.tokens for chunk in chunks)
            progress(done, total)

    def _pending_chunks(self) -> Iterator[PendingChunk]:
        """The pending chunks, a page at a time, since rows are written meanwhile."""
        last = 0
        while True:
            rows = self._database.rows(
                "select chunk.id, source, embedded, tokens from chunk"
                " join source on source.id = source where not complete and chunk.id > ?"
                " and chunk.id not in (select chunk from vector) order by chunk.id limit ?",
                (last, _PAGE),
            )
            page = [PendingChunk(*row) for row in rows]
            if not page:
                return
            yield from page
            last = page[-1].id

    def _complete(self, sources: set[int]) -> None:
        """Put those sources in place of their old rows whose every chunk has a vector."""
        for source in sources:
            missing = self._database.row(
                "select 1 from chunk where source = ? and id not in (select chunk from vector)",
                (source,),
            )
            if missing is None:
                self._database.execute(
                    "delete from source where complete"
                    " and path = (select path from source where id = ?)",
                    (source,),
                )
                self._database.execute("update source set complete = 1 where id = ?", (source,))
