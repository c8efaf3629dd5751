"""Search in a store: by meaning (vectors), by words (BM25), and by both.

The score of a chunk is its cosine with the query, its share of the query's words
(`word_ranking`), or for both their weighted mean: a convex combination, which Bruch, Gai and
Ingber (ACM TOIS 2023, arXiv 2210.11934) find better than reciprocal rank fusion. docs/rag.md has
the measurement that chose the weight.
"""

import heapq
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gritlite.rag.chunks import load_matrix, read_chunk, read_vectors
from gritlite.rag.database import Database
from gritlite.rag.metadata import Value
from gritlite.rag.paths import StorePaths
from gritlite.rag.references import located
from gritlite.rag.sources import copies, read_source
from gritlite.rag.vectors import Matrix, Ranked, VectorType
from gritlite.rag.where import Clause
from gritlite.rag.word_ranking import word_scores
from gritlite.runtime.cutting import cut
from gritlite.runtime.embed import Vectors

Mode = Literal["hybrid", "vectors", "words"]
Chunks = NDArray[np.int64]  # ids, which ascend

WORDS_WEIGHT = 0.5  # of the share of words, in a search by both
_MIN_DEPTH = 50  # chunks of each ranking that is combined
_MAX_PARAMETERS = 10_000  # of one statement; SQLite allows 32,766
_SHOWN = 60  # characters of a text


@dataclass(frozen=True, repr=False)
class Passage:
    """A chunk that a search found.

    `chunk` is its id, `document` the id of its document (`StoredDocument.id`), `source` the
    path of that where it is a file, `title` and `metadata` the document's, `place` where in it
    the passage begins ("line 12"; may be empty), `heading` the path of its headings, and
    `embedded` its heading and text, as they were embedded. `score` depends on how was searched:
    the cosine with the query ("vectors"), how much of the query's words the passage covers (0 to
    1, "words"), or the mean of both ("hybrid"). After re-ranking it is a mean log-probability.
    The file of a passage that is `gone` does not exist now.
    """

    chunk: int
    document: str
    source: Path | None
    title: str
    metadata: dict[str, Value]
    heading: str
    place: str
    text: str
    embedded: str
    score: float
    gone: bool = False

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= _SHOWN else f"{self.text[: _SHOWN - 1]}…"
        return f"<Passage {located(self.document, self.place)}, score {self.score:.3f}: {text!r}>"


class Searcher:
    """Searches over one database. Not thread-safe."""

    def __init__(
        self,
        database: Database,
        paths: StorePaths,
        vector_type: VectorType,
        dimension: int,
    ) -> None:
        self._database = database
        self._paths = paths
        self._vector_type = vector_type
        self._dimension = dimension
        self._matrix: Matrix | None = None
        self._generation = -1

    def search(
        self,
        query: str,
        vector: Vectors | None,
        count: int,
        mode: Mode,
        where: Clause | None = None,
    ) -> list[Passage]:
        """The `count` best passages; `vector` [d] is the query's, None for mode "words".

        It is cut to the store's dimension.
        Only documents for which `where` holds are ranked. A passage of a file that is gone is
        left out where the same file is at another place.
        """
        depth = count
        if vector is not None:
            (vector,) = cut(vector[None], self._dimension)
        with self._database.snapshot():
            wanted = None if where is None else chunks_where(self._database, where)
            while True:
                ranked = self._ranked(query, vector, depth, mode, wanted)
                passages = [self._passage(chunk, score) for chunk, score in ranked]
                found = [passage for passage in passages if passage is not None]
                if len(found) >= count or len(ranked) < depth:
                    return found[:count]
                depth *= 2

    def _ranked(
        self,
        query: str,
        vector: Vectors | None,
        count: int,
        mode: Mode,
        wanted: Chunks | None,
    ) -> Ranked:
        """The best of the `wanted` chunks, or of all where that is None."""
        words = {} if mode == "vectors" else word_scores(self._database, query)
        if wanted is not None:
            found = np.intersect1d(np.fromiter(words, np.int64, len(words)), wanted)
            words = {chunk: words[chunk] for chunk in found.tolist()}
        if vector is None or mode == "words":
            return best(words, count)
        matrix = self._current_matrix()
        if wanted is not None:
            matrix = matrix.only(wanted)
        if mode == "vectors":
            return matrix.nearest(vector, count, self._vectors)
        return self._by_both(matrix, vector, words, count)

    def _by_both(
        self, matrix: Matrix, vector: Vectors, words: dict[int, float], count: int
    ) -> Ranked:
        """Combine the cosines and the words of the chunks that lead either ranking."""
        depth = max(count, _MIN_DEPTH)
        cosines = dict(matrix.nearest(vector, depth, self._vectors))
        others = [chunk for chunk, _ in best(words, depth) if chunk not in cosines]
        cosines.update(matrix.cosines(vector, others, self._vectors))
        return best(combined(cosines, words), count)

    def _current_matrix(self) -> Matrix:
        """The vectors of complete sources, loaded again when any process has changed them."""
        generation = self._database.generation
        if self._matrix is None or generation != self._generation:
            self._matrix = load_matrix(self._database, self._vector_type, self._dimension)
            self._generation = generation
        return self._matrix

    def _vectors(self, chunks: list[int]) -> list[bytes]:
        vectors: list[bytes] = []
        for start in range(0, len(chunks), _MAX_PARAMETERS):
            some = chunks[start : start + _MAX_PARAMETERS]
            vectors += read_vectors(self._database, some, self._vector_type, self._dimension)
        return vectors

    def _passage(self, chunk: int, score: float) -> Passage | None:
        """A passage, None for one of a file that was moved and indexed again."""
        found = read_chunk(self._database, chunk)
        source = read_source(self._database, found.source)
        if not source.complete:
            raise self._database.damaged(f"chunk {chunk} is found before it is complete")
        file = source.file(self._paths)
        gone = file is not None and not file.exists()
        if gone and any(self._paths.path(copy).exists() for copy in copies(self._database, source)):
            return None
        return Passage(
            chunk=chunk,
            document=source.document(self._paths),
            source=file,
            title=source.title,
            metadata=source.metadata,
            heading=found.heading,
            place=found.place,
            text=found.text,
            embedded=found.embedded,
            score=score,
            gone=gone,
        )


def chunks_where(database: Database, where: Clause) -> Chunks:
    """The searched chunks of the documents for which a condition holds."""
    rows = database.rows(
        "select id from chunk where source in"
        f" (select id from source where complete and {where.sql})",
        where.parameters,
    )
    return np.sort(np.array([chunk for (chunk,) in rows], np.int64))


def combined(cosines: dict[int, float], words: dict[int, float]) -> dict[int, float]:
    """The weighted means of both scores of the chunks that have a cosine."""
    return {
        chunk: (1 - WORDS_WEIGHT) * cosine + WORDS_WEIGHT * words.get(chunk, 0.0)
        for chunk, cosine in cosines.items()
    }


def best(scores: dict[int, float], count: int) -> Ranked:
    """The chunks with the `count` highest scores, highest first, and among equals the oldest."""
    return heapq.nsmallest(count, scores.items(), key=lambda item: (-item[1], item[0]))
