"""Search time in a large store, and the recall of compressed vectors.

    python benchmarks/vector_search.py --chunks 100000
    python benchmarks/vector_search.py --vectors VECTORS.npy

The first fills a store of each vector format with synthetic texts and clustered random vectors,
and searches it by vectors, by words and by both, in turns, among all documents and among those
with some metadata; times exclude the embedding of the query. The second searches for the ten
nearest neighbours of 200 of the file's vectors (float32 [n, d]), and counts how many of the exact
ten each format finds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite.rag.chunking import Chunk
from gritlite.rag.chunks import insert_chunks, insert_vectors
from gritlite.rag.database import Database
from gritlite.rag.metadata import write_metadata
from gritlite.rag.paths import StorePaths
from gritlite.rag.search import Mode, Searcher
from gritlite.rag.sources import complete_sources
from gritlite.rag.vectors import Matrix, VectorType, packed
from gritlite.rag.where import read_where
from gritlite.runtime.embed import Vectors

DIMENSION = 576  # of the default model
FORMS: tuple[VectorType, ...] = ("float32", "int8", "binary")
MODES: tuple[Mode, ...] = ("vectors", "words", "hybrid")
FILTERS = {
    "all": read_where(None),
    "1 of 100": read_where({"part": 0}),
    "99 of 100": read_where({"part": {"$ne": 0}}),
}
WORDS = 40  # of a chunk
CHUNKS = 10  # of a document
VOCABULARY = 20_000
ROUNDS = 15
QUERIES = 200
NEAREST = 10


def main() -> None:
    """Parse the command line and measure what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, help="time searches among so many")
    parser.add_argument("--vectors", type=Path, help="measure recall on these")
    options = parser.parse_args()
    if options.chunks:
        measure_times(options.chunks)
    if options.vectors:
        measure_recall(np.load(options.vectors))


def measure_times(chunks: int) -> None:
    """Print the time of a search in each form and mode, and of the first, which loads."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        searchers: dict[VectorType, Searcher] = {}
        for vector_type in FORMS:
            path = Path(folder, f"{vector_type}.grit")
            database = Database(path)
            stack.callback(database.close)
            fill(database, vector_type, chunks)
            searchers[vector_type] = Searcher(
                database, StorePaths(Path(folder)), vector_type, DIMENSION
            )
            start = time.perf_counter()
            searchers[vector_type].search("", unit(rng.normal(size=DIMENSION)), 5, "vectors")
            spent = time.perf_counter() - start
            print(
                f"{vector_type}: file {path.stat().st_size >> 20} MiB, first search {spent:.2f} s"
            )
        times: dict[tuple[VectorType, Mode, str], list[float]] = {}
        for _ in range(ROUNDS):
            query = " ".join(f"w{word}" for word in zipf(rng, 8))
            vector = unit(rng.normal(size=DIMENSION))
            for vector_type in FORMS:
                for mode, documents in product(MODES, FILTERS):
                    start = time.perf_counter()
                    searchers[vector_type].search(query, vector, 5, mode, FILTERS[documents])
                    spent = time.perf_counter() - start
                    times.setdefault((vector_type, mode, documents), []).append(spent)
        for (vector_type, mode, documents), each in times.items():
            median = statistics.median(each) * 1e3
            print(f"{vector_type:8} {mode:8} {documents:10} {median:6.1f} ms")


def fill(database: Database, vector_type: VectorType, chunks: int) -> None:
    """Put documents with so many chunks into a store's file."""
    rng = np.random.default_rng(1)
    documents = range(1, (chunks - 1) // CHUNKS + 2)
    with database.transaction():
        for document in documents:
            database.execute(
                "insert into source (id, path, digest, size, mtime_ns, read_ns)"
                " values (?, ?, ?, 0, 0, 0)",
                (document, f"{document}.txt", b"%d" % document),
            )
            write_metadata(database, document, {"part": document % 100})
        for number, vector in enumerate(clustered(rng, chunks), 1):
            text = " ".join(f"w{word}" for word in zipf(rng, WORDS))
            document = (number - 1) // CHUNKS + 1
            insert_chunks(database, document, [Chunk(text, "", "", "")], [40])
            insert_vectors(database, [number], vector[np.newaxis], vector_type)
        complete_sources(database, documents)


def zipf(rng: np.random.Generator, count: int) -> Iterator[int]:
    """Word numbers, as frequent as words are in a text."""
    yield from np.minimum(rng.zipf(1.2, count), VOCABULARY).tolist()


def clustered(rng: np.random.Generator, count: int) -> Iterator[Vectors]:
    """Unit vectors around five hundred centres."""
    centres = rng.normal(size=(500, DIMENSION))
    for _ in range(count):
        yield unit(centres[rng.integers(500)] + 0.8 * rng.normal(size=DIMENSION))


def unit(vector: NDArray[np.floating[Any]]) -> Vectors:
    """A vector at unit length, float32."""
    found: Vectors = (vector / np.linalg.norm(vector)).astype(np.float32)
    return found


def measure_recall(vectors: Vectors) -> None:
    """Print for each form the share of the exact nearest that it finds."""
    rows = np.linspace(0, len(vectors) - 1, QUERIES).astype(int)
    others = np.delete(vectors, rows, axis=0)
    exact = np.argsort(-(vectors[rows] @ others.T), axis=1)[:, :NEAREST]
    for vector_type in FORMS:
        kept = [packed(vector, vector_type) for vector in others]
        codes = b"".join(numbers if bits is None else bits for numbers, bits in kept)
        matrix = Matrix(
            vector_type, np.arange(len(kept)), np.frombuffer(codes, np.uint8).reshape(len(kept), -1)
        )
        whole = [each[0] for each in kept]
        fetch = partial(map_items, whole)
        shared = 0
        for row, nearest in zip(rows, exact, strict=True):
            found = matrix.nearest(vectors[row], NEAREST, fetch)
            shared += len({chunk for chunk, _ in found} & set(nearest.tolist()))
        recall = shared / exact.size
        print(f"{vector_type:8} recall@{NEAREST} {recall:.4f} among {len(others):,} vectors")


def map_items(items: Sequence[bytes], numbers: Sequence[int]) -> list[bytes]:
    """The items of those numbers."""
    return [items[number] for number in numbers]


if __name__ == "__main__":
    main()
