"""Search in a store: by meaning (vectors), by words (FTS5), and by both joined.

Joined lists are ranked by reciprocal rank fusion (Cormack, Clarke and Buettcher,
SIGIR 2009), a chunk's score being the sum of 1 / (60 + rank) over the lists.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from gritlite.errors import UsageError
from gritlite.rag.database import Database
from gritlite.rag.paths import StorePaths
from gritlite.rag.vectors import Matrix, Ranked, VectorType
from gritlite.runtime.embed import Vectors

Mode = Literal["hybrid", "vectors", "words"]

_FUSION = 60  # the paper's constant
_DEPTH = 50  # of each list that is joined, at least
_MOST_RANKED = 5000  # chunks that BM25 looks at, at 4 microseconds each
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Passage:
    """A chunk that was found.

    `place` says where in the file `source` it begins, and may be empty; `embedded` is
    the text as it was embedded, behind its heading. `score` orders the passages of one
    search and has no unit.
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

    def __init__(self, database: Database, places: StorePaths, vector_type: VectorType) -> None:
        self._database = database
        self._places = places
        self._vector_type = vector_type
        self._matrix: Matrix | None = None
        self._generation = -1

    def search(self, query: str, vector: Vectors | None, count: int, mode: Mode) -> list[Passage]:
        """The `count` best passages; `vector` [d] is the query's, needed except by words alone."""
        if mode not in get_args(Mode):
            raise UsageError(f"mode is {mode!r}: expected one of {', '.join(get_args(Mode))}")
        depth = count if mode != "hybrid" else max(count, _DEPTH)
        lists: list[Ranked] = []
        with self._database.snapshot():
            if mode != "words" and vector is not None:
                lists.append(self._current().nearest(vector, depth, self._vectors))
            if mode != "vectors":
                lists.append(self._by_words(query, depth))
            ranked = lists[0] if len(lists) == 1 else fused(lists)
            return [self._passage(chunk, score) for chunk, score in ranked[:count]]

    def _current(self) -> Matrix:
        """The vectors of complete sources, read anew when anybody has changed them."""
        generation = self._database.generation
        if self._matrix is None or generation != self._generation:
            column = "bits" if self._vector_type == "binary" else "vector"
            ids: list[int] = []
            codes = bytearray()
            for chunk, code in self._database.rows(
                f"select chunk, vector.{column} from vector join chunk on chunk.id = chunk"
                " join source on source.id = source where complete order by chunk"
            ):
                ids.append(chunk)
                codes += code
            rows = np.frombuffer(codes, np.uint8).reshape(len(ids), -1 if ids else 0)
            self._matrix = Matrix(self._vector_type, np.array(ids, np.int64), rows)
            self._generation = generation
        return self._matrix

    def _vectors(self, chunks: list[int]) -> list[bytes]:
        marks = ", ".join("?" * len(chunks))
        rows = self._database.rows(
            f"select vector from vector where chunk in ({marks}) order by chunk", tuple(chunks)
        )
        return [vector for (vector,) in rows]

    def _by_words(self, query: str, count: int) -> Ranked:
        """Chunks with any of the query's words, ranked by BM25."""
        words = self._rarest([f'"{word}"' for word in dict.fromkeys(_WORD.findall(query))])
        if not words:
            return []
        rows = self._database.rows(
            "select rowid, -rank from words where words match ? order by rank limit ?",
            (" OR ".join(words), count),
        )
        return [(chunk, score) for chunk, score in rows]

    def _rarest(self, words: list[str]) -> list[str]:
        """The words that few chunks have; those of most tell nothing, and take BM25 long."""
        counted = [
            self._database.number(
                "select count(*) from (select 1 from words where words match ? limit ?)",
                (word, _MOST_RANKED),
            )
            for word in words
        ]
        kept: list[str] = []
        ranked = 0
        for number, word in sorted(zip(counted, words, strict=True)):
            if kept and ranked + number > _MOST_RANKED:
                break
            kept.append(word)
            ranked += number
        return kept

    def _passage(self, chunk: int, score: float) -> Passage:
        name, heading, place, text, embedded = self._database.known_row(
            "select path, heading, place, text, embedded from chunk"
            " join source on source.id = source where chunk.id = ?",
            (chunk,),
        )
        path = self._places.path(name)
        return Passage(chunk, path, heading, place, text, embedded, score)


def fused(lists: Sequence[Ranked]) -> Ranked:
    """One ranking of several, by reciprocal rank fusion."""
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, (chunk, _) in enumerate(ranked, 1):
            scores[chunk] = scores.get(chunk, 0.0) + 1 / (_FUSION + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
