"""Scoring: how likely the model finds tokens that are already there.

Causal passes of a bounded number of tokens; of each token's logits only the
log-probability of the token that follows is kept. The cells keep the tokens
scored last, so what two sequences begin with alike is evaluated once.
"""

import math
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import CancelledError, ClosedError, InputTooLongError, UsageError
from gritlite.runtime.kv_cache import KVCache
from gritlite.runtime.llama import Context, ContextOptions, Weights
from gritlite.runtime.llama.context import grown
from gritlite.runtime.scheduler import Turns

LogProbabilities = NDArray[np.float32]

PASS_TOKENS = 256  # whose logits are held at once, in llama.cpp twice
_SMALLEST_CONTEXT = 512


class Scorer:
    """Scores tokens over shared weights. Thread-safe: passes take turns."""

    def __init__(self, weights: Weights, turns: Turns, *, n_ctx: int, threads: int) -> None:
        self._weights = weights
        self._turns = turns
        self._n_ctx = n_ctx
        self._threads = threads
        self._cells: KVCache | None = None
        self._lock = threading.Lock()
        self._closed = False

    def score(
        self, tokens: Sequence[int], start: int, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """Natural log-probability of each of `tokens[start:]` after all that stand before it.

        float32 [n - start]. Raises UsageError for a `start` or a token that cannot
        be, InputTooLongError, and CancelledError within one pass of `cancel`
        being set.
        """
        passes = self._passes(tokens, start, cancel)
        return np.concatenate([_log_softmax(logits, targets) for logits, targets in passes])

    def logits(
        self, tokens: Sequence[int], start: int, cancel: threading.Event | None = None
    ) -> NDArray[np.float32]:
        """Logits of what could stand in the place of each of `tokens[start:]`.

        float32 [n - start, n_vocab]. Raises as `score`.
        """
        passes = self._passes(tokens, start, cancel)
        return np.concatenate([logits.copy() for logits, _ in passes])

    def _passes(
        self, tokens: Sequence[int], start: int, cancel: threading.Event | None
    ) -> Iterator[tuple[NDArray[np.float32], Sequence[int]]]:
        """Of pass after pass the logits, which the next overwrites, and the tokens that came."""
        tokens = [int(token) for token in tokens]
        self._check(tokens, start)
        inputs = tokens[:-1]  # nobody asks what follows the last one
        with self._lock:
            cells = self._ready_cells(len(inputs))
            kept = cells.keep(inputs[: start - 1])
            for first in range(kept, len(inputs), PASS_TOKENS):
                if cancel is not None and cancel.is_set():
                    raise CancelledError("the scoring was cancelled")
                self._check_open()
                part = inputs[first : first + PASS_TOKENS]
                wanted = np.arange(first, first + len(part)) >= start - 1
                with self._turns.turn("generate"):
                    cells.add(part, wanted)
                targets = tokens[max(first + 1, start) : first + 1 + len(part)]
                yield cells.context.all_logits(len(targets)), targets

    def _check(self, tokens: Sequence[int], start: int) -> None:
        if not 1 <= start < len(tokens):
            raise UsageError(
                f"start is {start} of {len(tokens)} tokens: it needs a token before it, whose "
                "successor it is, and itself to be one of them"
            )
        if len(tokens) > self._n_ctx:
            raise InputTooLongError(
                f"{len(tokens)} tokens to score, but the context holds {self._n_ctx}: score fewer "
                "or load the model with a longer context"
            )
        wrong = next((token for token in tokens if not 0 <= token < self._weights.n_vocab), None)
        if wrong is not None:
            raise UsageError(f"{wrong} is no token: ids go from 0 to {self._weights.n_vocab - 1}")

    def _ready_cells(self, count: int) -> KVCache:
        """The cells, in a context made twice as large or more when there are too few."""
        self._check_open()
        if self._cells is None or self._cells.context.options.n_ctx < count:
            self._free_context()
            options = ContextOptions(
                n_ctx=grown(_SMALLEST_CONTEXT, count, self._n_ctx),
                n_batch=min(PASS_TOKENS, self._n_ctx),
                threads=self._threads,
                all_logits=True,
            )
            self._cells = KVCache(Context(self._weights, options))
        return self._cells

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError

    def forget(self) -> None:
        """Evaluate everything anew from now on: the weights have changed."""
        with self._lock:
            if self._cells is not None:
                self._cells.keep([])

    def close(self) -> None:
        """Free the context, after the pass in progress."""
        self._closed = True
        with self._lock:
            self._free_context()

    def _free_context(self) -> None:
        if self._cells is not None:
            self._cells.context.close()
            self._cells = None


def _log_softmax(logits: NDArray[np.float32], targets: Sequence[int]) -> LogProbabilities:
    """Log-probabilities of `targets` [n] by logits [n, n_vocab], which may be a view.

    Row by row, so that nothing of the size of the logits is made; the sum is float64.
    """
    return np.fromiter(
        (_log_probability(row, target) for row, target in zip(logits, targets, strict=True)),
        np.float32,
    )


def _log_probability(logits: NDArray[np.float32], target: int) -> float:
    top = logits.max()
    total = np.exp(logits - top).sum(dtype=np.float64)
    return float(logits[target]) - float(top) - math.log(total)
