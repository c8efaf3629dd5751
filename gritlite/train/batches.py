"""Sample the batch of each step, determined by the seed and the step number alone.

A resumed run therefore continues with the same batches. A batch has rows of one source,
so that in-batch negatives are of one kind (arXiv 2402.09906, section 3.1), and of
similar length, so that there is little padding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_POOL_BATCHES = 16  # batches' worth of rows that are sorted by length together


@dataclass(frozen=True)
class Batch:
    """Row indices of the source with the index `source`."""

    source: int
    rows: tuple[int, ...]


class EpochBatches:
    """Endless batches of one source: every row once per epoch, in a new order each time."""

    def __init__(self, lengths: ArrayLike, batch: int, seed: Sequence[int]) -> None:
        self._lengths = np.asarray(lengths)
        self._batch = min(batch, len(self._lengths))
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
    lengths: Sequence[ArrayLike], batches: Sequence[int], shares: Sequence[float], seed: int
) -> Iterator[Batch]:
    """Yield endless batches of several sources, interleaved in proportion to their shares.

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
