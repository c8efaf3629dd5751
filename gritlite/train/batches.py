"""Which rows each step learns from: decided by the seed and the step's number alone.

A run that resumes therefore goes on with the very rows it would have had.
Batches hold rows of one source, so that in-batch negatives are of one kind
(arXiv 2402.09906, section 3.1), and of like length, so that little is padded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_POOL_BATCHES = 16  # batches' worth of rows that are sorted by length together


@dataclass(frozen=True)
class Batch:
    """A batch: rows of the source number `source`, by their place in it."""

    source: int
    rows: tuple[int, ...]


class EpochBatches:
    """Endless batches of one source: every row once an epoch, each epoch in a new order."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: Sequence[int]) -> None:
        self._lengths = np.asarray(lengths)
        self._batch = min(batch, len(lengths))
        self._batches = self._endless(np.random.default_rng(seed))

    def __next__(self) -> tuple[int, ...]:
        return next(self._batches)

    def _endless(self, random: np.random.Generator) -> Iterator[tuple[int, ...]]:
        while True:
            order = random.permutation(len(self._lengths))
            whole = len(order) - len(order) % self._batch  # what is left over waits its turn
            pool = self._batch * _POOL_BATCHES
            batches = [
                tuple(int(row) for row in part)
                for start in range(0, whole, pool)
                for part in self._by_length(order[start : min(start + pool, whole)])
            ]
            for place in random.permutation(len(batches)):
                yield batches[place]

    def _by_length(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        ordered = rows[np.argsort(self._lengths[rows], kind="stable")]
        return np.split(ordered, len(ordered) // self._batch)


def sample_batches(
    lengths: Sequence[Sequence[int]], batches: Sequence[int], shares: Sequence[float], seed: int
) -> Iterator[Batch]:
    """Endless batches of several sources, each as often as its share says, evenly in time.

    `lengths` holds, per source, the length of each row.
    """
    rotations = [
        EpochBatches(rows, batch, (seed, number))
        for number, (rows, batch) in enumerate(zip(lengths, batches, strict=True))
    ]
    wanted = np.asarray(shares) / np.sum(shares)
    owed = np.zeros(len(shares))  # batches that each source is behind its share
    while True:
        owed += wanted
        source = int(owed.argmax())
        owed[source] -= 1
        yield Batch(source, next(rotations[source]))
