"""Search in a store: by meaning (vectors), by words (FTS5), and by both.

Two rankings are combined by reciprocal rank fusion (Cormack, Clarke and Buettcher,
SIGIR 2009), a chunk's score is the sum of 1 / (60 + rank) over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gritlite.rag.chunks import load_matrix, read_chunk, read_vectors
from gritlite.rag.database import Database
from gritlite.rag.folding import query_terms
from gritlite.rag.paths import StorePaths
from gritlite.rag.sources import read_source
from gritlite.rag.vectors import Matrix, Ranked, VectorType
from gritlite.runtime.embed import Vectors

Mode = Literal["hybrid", "vectors", "words"]

_FUSION = 60  # the paper's constant
_MIN_DEPTH = 50  # chunks of each ranking that is combined
_MAX_RANKED = 5000  # chunks that BM25 ranks, at 4 microseconds each


@dataclass(frozen=True)
class Passage:
    """A chunk that a search found.

    `chunk` is its id, `source` the path of its document, `place` where in the file it
    begins ("line 12"; may be empty), `heading` the path of its headings, and `embedded` its
    heading and text, as they were embedded. `score` orders the passages of one search and
    has no unit.
    """

    chunk: int
    source: Path
    heading: str
    place: str
    text: str
    embedded: str
    score: float


class Searcher:
    """Searches over one database. Not thread-safe."""

    def __init__(
        self, database: Database, paths: StorePaths, vector_type: VectorType, dimension: int
    ) -> None:
        self._database = database
        self._paths = paths
        self._vector_type = vector_type
        self._dimension = dimension
        self._matrix: Matrix | None = None
        self._generation = -1

    def search(self, query: str, vector: Vectors | None, count: int, mode: Mode) -> list[Passage]:
        """The `count` best passages; `vector` [d] is the query's, None for mode "words"."""
        depth = count if mode != "hybrid" else max(count, _MIN_DEPTH)
        rankings: list[Ranked] = []
        with self._database.snapshot():
            if mode != "words" and vector is not None:
                rankings.append(self._current_matrix().nearest(vector, depth, self._vectors))
            if mode != "vectors":
                rankings.append(self._by_words(query, depth))
            ranked = rankings[0] if len(rankings) == 1 else fused(rankings)
            return [self._passage(chunk, score) for chunk, score in ranked[:count]]

    def _current_matrix(self) -> Matrix:
        """The vectors of complete sources, loaded again when any process has changed them."""
        generation = self._database.generation
        if self._matrix is None or generation != self._generation:
            self._matrix = load_matrix(self._database, self._vector_type, self._dimension)
            self._generation = generation
        return self._matrix

    def _vectors(self, chunks: list[int]) -> list[bytes]:
        return read_vectors(self._database, chunks, self._vector_type, self._dimension)

    def _by_words(self, query: str, count: int) -> Ranked:
        """Chunks with any of the query's rarer words, ranked by BM25."""
        words = self._rarest(query_terms(query))
        if not words:
            return []
        rows = self._database.rows(
            "select rowid, -rank from words where words match ? order by rank limit ?",
            (" OR ".join(words), count),
        )
        return [(chunk, score) for chunk, score in rows]

    def _rarest(self, words: list[str]) -> list[str]:
        """The rarest words: common ones say little about a chunk, and make BM25 slow."""
        counts = [
            self._database.number(
                "select count(*) from (select 1 from words where words match ? limit ?)",
                (word, _MAX_RANKED),
            )
            for word in words
        ]
        kept: list[str] = []
        ranked = 0
        for number, word in sorted(zip(counts, words, strict=True)):
            if kept and ranked + number > _MAX_RANKED:
                break
            kept.append(word)
            ranked += number
        return kept

    def _passage(self, chunk: int, score: float) -> Passage:
        found = read_chunk(self._database, chunk)
        source = read_source(self._database, found.source)
        if not source.complete:
            raise self._database.damaged(f"chunk {chunk} is found before it is complete")
        path = self._paths.path(source.path)
        return Passage(chunk, path, found.heading, found.place, found.text, found.embedded, score)


def fused(rankings: Sequence[Ranked]) -> Ranked:
    """Combine rankings into one by reciprocal rank fusion."""
    scores: dict[int, float] = {}
    for ranked in rankings:
        for rank, (chunk, _) in enumerate(ranked, 1):
            scores[chunk] = scores.get(chunk, 0.0) + 1 / (_FUSION + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
