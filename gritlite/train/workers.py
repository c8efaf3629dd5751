"""Threads that compute parts of a batch side by side, each with its share of the cores.

One thread with all cores waits for them at the end of every operation: two cores then train 1.5
times as fast as one, and in two threads twice as fast.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import torch

MOST = 4  # threads: a batch has a few thousand tokens, and products of few rows are slow
LEAST_TOKENS = 256  # of a part

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """`count` threads; one alone is the caller's own."""

    def __init__(self, count: int) -> None:
        self.count = count
        cores = max(1, torch.get_num_threads() // count)
        self._pool = (
            ThreadPoolExecutor(count, "train", torch.set_num_threads, (cores,))
            if count > 1
            else None
        )

    @classmethod
    def of_this_machine(cls) -> "Workers":
        """A thread for each core, up to `MOST`."""
        return cls(min(MOST, torch.get_num_threads()))

    def map(self, function: Callable[[T], R], parts: Sequence[T]) -> Generator[R, None, None]:
        """Yield the results of a function, in the order of the parts.

        A caller that stops in between leaves parts that have not begun uncomputed. Threads see the
        caller's context variables, where torch keeps its compiler's settings.
        """
        if self._pool is None:
            yield from map(function, parts)
            return
        calls = [self._pool.submit(copy_context().run, function, part) for part in parts]
        try:
            for call in calls:
                yield call.result()
        finally:
            for call in calls:
                call.cancel()

    def split(self, lengths: Sequence[int]) -> list[list[int]]:
        """Divide sequences among the threads, those of similar length together.

        Returns their indices; the parts have about the same number of tokens.
        """
        total = sum(lengths)
        count = max(1, min(self.count, total // LEAST_TOKENS))
        parts: list[list[int]] = [[] for _ in range(count)]
        before = 0
        for place in sorted(range(len(lengths)), key=lengths.__getitem__):
            middle = before + lengths[place] / 2
            parts[min(count - 1, int(middle * count / total))].append(place)
            before += lengths[place]
        return [part for part in parts if part]
