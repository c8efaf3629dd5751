"""The types in which a store keeps vectors, and the search among them.

    float32  as `encode` returns them: 4 bytes per dimension, exact
    int8     each vector scaled by its largest absolute value: 1 byte, cosines to about 0.001
    binary   the signs, 1 bit per dimension, find candidates, which the int8 vectors re-score;
             a search reads an eighth of the bytes of int8

The search compares the query with every vector (usearch's exact search), so no index can be
lost, rebuilt or outdated. docs/rag.md has the times.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import UsageError
from gritlite.runtime.embed import Vectors

VectorType = Literal["float32", "int8", "binary"]
Ranked = list[tuple[int, float]]  # ids of chunks and their scores, highest first
Fetch = Callable[[list[int]], list[bytes]]  # the stored vectors of chunks

_MIN_CANDIDATES = 200  # to find by their bits
_OVERSAMPLING = 10  # candidates for each wanted vector


def check_vector_type(vector_type: str) -> None:
    """Raise UsageError for a type that does not exist."""
    if vector_type not in get_args(VectorType):
        raise UsageError(
            f"vectors is {vector_type!r}: expected one of {', '.join(get_args(VectorType))}"
        )


def packed(vector: Vectors, vector_type: VectorType) -> tuple[bytes, bytes | None]:
    """The stored bytes of a vector [d], and its packed signs if the type is binary."""
    if vector_type == "float32":
        return vector.astype("<f4").tobytes(), None
    bits = np.packbits(vector > 0).tobytes() if vector_type == "binary" else None
    return _int8(vector).tobytes(), bits


def stored_bytes(dimension: int, vector_type: VectorType, *, searched: bool) -> int:
    """The length of what is stored of a vector; `searched`: of its bits if the type is binary."""
    if vector_type == "float32":
        return 4 * dimension
    return (dimension + 7) // 8 if searched and vector_type == "binary" else dimension


def _int8(vector: Vectors) -> NDArray[np.int8]:
    scaled: Vectors = np.round(vector * (127 / np.abs(vector).max()))
    return scaled.astype(np.int8)


@dataclass(frozen=True)
class Matrix:
    """The searched bytes of every vector: `codes` [n, bytes per vector] of the chunks `ids` [n].

    The ids ascend.
    """

    vector_type: VectorType
    ids: NDArray[np.int64]
    codes: NDArray[np.uint8]

    def nearest(self, query: Vectors, count: int, fetch: Fetch) -> Ranked:
        """The chunks whose vectors have the highest cosines with `query` [d].

        `fetch` returns the stored vectors of chunks, in the order of their ids.
        """
        if not len(self.ids) or count < 1:
            return []
        if self.vector_type == "float32":
            return self._exact(self.codes.view("<f4"), query.astype("<f4"), count)
        if self.vector_type == "int8":
            return self._exact(self.codes.view(np.int8), _int8(query), count)
        return self._rescored(query, count, fetch)

    def only(self, chunks: NDArray[np.int64]) -> "Matrix":
        """The vectors of some of the chunks, whose ids ascend."""
        if len(chunks) == len(self.ids):
            return self
        return Matrix(self.vector_type, chunks, self.codes[np.searchsorted(self.ids, chunks)])

    def _exact(self, vectors: NDArray[np.generic], query: NDArray[np.generic], n: int) -> Ranked:
        rows, distances = _search(vectors, query, n, "cos")
        return [
            (int(self.ids[row]), 1.0 - float(distance))
            for row, distance in zip(rows, distances, strict=True)
        ]

    def _rescored(self, query: Vectors, count: int, fetch: Fetch) -> Ranked:
        candidates = max(_MIN_CANDIDATES, count * _OVERSAMPLING)
        rows, _ = _search(self.codes, np.packbits(query > 0), candidates, "hamming")
        return self.cosines(query, self.ids[rows].tolist(), fetch)[:count]

    def cosines(self, query: Vectors, chunks: Collection[int], fetch: Fetch) -> Ranked:
        """The cosines of some chunks with `query` [d], highest first; those not in `ids` lack.

        `fetch` returns the stored vectors of chunks, in the order of their ids.
        """
        ids = np.array(sorted(chunks), np.int64)
        ids = ids[np.searchsorted(self.ids, ids, "left") < np.searchsorted(self.ids, ids, "right")]
        codes = np.frombuffer(b"".join(fetch(ids.tolist())), np.uint8)
        stored: VectorType = "float32" if self.vector_type == "float32" else "int8"
        vectors = Matrix(stored, ids, codes.reshape(len(ids), -1 if len(ids) else 0))
        return vectors.nearest(query, len(ids), fetch)


def _search(
    vectors: NDArray[np.generic], query: NDArray[np.generic], count: int, metric: str
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows of the nearest vectors and their distances, nearest first."""
    from usearch.index import MetricKind, search

    kind = MetricKind.Cos if metric == "cos" else MetricKind.Hamming
    matches = search(vectors, query, min(count, len(vectors)), kind, exact=True)
    return matches.keys.astype(np.int64), matches.distances
