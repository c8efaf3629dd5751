"""Scoring: log-probabilities of given tokens under the model.

Causal passes evaluate a bounded number of tokens; of each token's logits only the
log-probability of the next token is stored. The cache holds the tokens scored last, so
the common prefix of two sequences is evaluated once.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import (
    CancelledError,
    ClosedError,
    EmptyTextError,
    InputTooLongError,
    UsageError,
)
from gritlite.runtime.embed import grown_size
from gritlite.runtime.engine import Logits
from gritlite.runtime.finite import check_logits
from gritlite.runtime.kv_cache import KVCache
from gritlite.runtime.model import GritLM
from gritlite.runtime.template import Message

LogProbabilities = NDArray[np.float32]

PASS_TOKENS = 256  # llama.cpp holds the logits of a pass twice
_SMALLEST_CONTEXT = 512


class Scorer:
    """Scores tokens with a model. Thread-safe; use it as a context manager.

    It has its own cache. Closing the model closes it too.
    """

    def __init__(self, model: GritLM) -> None:
        self._model = model
        self._cache: KVCache | None = None
        self._lock = threading.Lock()
        self._edits = model.edits
        self._closed = False
        model.attach(self)

    def score(
        self, tokens: Sequence[int], start: int = 1, *, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """Return the natural log-probability of each of `tokens[start:]` given its prefix.

        float32 [n - start], under causal attention. The common prefix with the last call is
        not evaluated again. Raises UsageError for a `start` below 1 or past the end and for
        an invalid token id, InputTooLongError for more tokens than the model's context,
        CancelledError within one pass of `cancel` being set, and ClosedError.
        """
        passes = self._passes(tokens, start, cancel)
        return np.concatenate([_log_softmax(logits, targets) for logits, targets in passes])

    def logits(
        self, tokens: Sequence[int], start: int = 1, *, cancel: threading.Event | None = None
    ) -> Logits:
        """Return the logits that predict each of `tokens[start:]`.

        float32 [n - start, vocabulary]: a long input needs much memory. Raises as `score`.
        """
        passes = self._passes(tokens, start, cancel)
        return np.concatenate([logits.copy() for logits, _ in passes])

    def score_text(
        self, prompt: str, continuation: str, *, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """`score` for the tokens of a continuation of a raw prompt, float32 [its tokens].

        Prompt and continuation are tokenized separately, so the prompt's tokens are the same
        for every continuation; the space before a word belongs to the word. Raises
        EmptyTextError if either has no tokens, and as `score`.
        """
        before = self._model.prompt_tokens(prompt)
        after = self._model.tokenize(continuation, continues=bool(prompt))
        if not before or not after:
            raise EmptyTextError(
                f"the {'continuation' if before else 'prompt'} is empty: there is nothing to score"
            )
        return self.score(before + after, len(before), cancel=cancel)

    def score_answer(
        self,
        messages: Sequence[Message],
        answer: str,
        *,
        cancel: threading.Event | None = None,
    ) -> LogProbabilities:
        """`score` for the tokens of an answer to messages, float32 [its tokens].

        Raises EmptyTextError for an answer without tokens, UsageError for bad messages,
        and as `score`.
        """
        before = self._model.chat_tokens(messages)
        after = self._model.tokenize(answer, continues=True)
        if not after:
            raise EmptyTextError("the answer is empty: there is nothing to score")
        return self.score(before + after, len(before), cancel=cancel)

    def _passes(
        self, tokens: Sequence[int], start: int, cancel: threading.Event | None
    ) -> Iterator[tuple[Logits, Sequence[int]]]:
        """Yield each pass's logits and the tokens they predict; the next pass overwrites them."""
        tokens = [int(token) for token in tokens]
        self._check(tokens, start)
        inputs = tokens[:-1]  # no token follows the last one
        with self._lock:
            cache = self._ready_cache(len(inputs))
            if self._edits != self._model.edits:
                self._edits = self._model.edits
                cache.retain_prefix([])
            reused = cache.retain_prefix(inputs[: start - 1])
            for first in range(reused, len(inputs), PASS_TOKENS):
                if cancel is not None and cancel.is_set():
                    raise CancelledError("the scoring was cancelled")
                self._check_open()
                part = inputs[first : first + PASS_TOKENS]
                wanted = np.arange(first, first + len(part)) >= start - 1
                with self._model.scheduler.turn("generate"):
                    cache.add(part, wanted)
                targets = tokens[max(first + 1, start) : first + 1 + len(part)]
                yield check_logits(cache.logits(len(targets))), targets

    def _check(self, tokens: Sequence[int], start: int) -> None:
        if not 1 <= start < len(tokens):
            raise UsageError(
                f"start is {start} of {len(tokens)} tokens: expected 1 to the number of tokens "
                "minus 1"
            )
        limit = self._model.context_length
        if len(tokens) > limit:
            raise InputTooLongError(
                f"{len(tokens)} tokens to score, but the context holds {limit}: score fewer "
                "or load the model with a longer context"
            )
        size = self._model.engine.vocabulary.size
        wrong = next((token for token in tokens if not 0 <= token < size), None)
        if wrong is not None:
            raise UsageError(f"{wrong} is not a token: ids go from 0 to {size - 1}")

    def _ready_cache(self, count: int) -> KVCache:
        """Return the cache; its size doubles until `count` tokens fit."""
        self._check_open()
        if self._cache is None or self._cache.capacity < count:
            self._free_cache()
            limit = self._model.context_length
            size = grown_size(_SMALLEST_CONTEXT, count, limit)
            batch = min(PASS_TOKENS, limit)
            self._cache = KVCache(self._model.engine.open_decoder(size, batch, all_logits=True))
        return self._cache

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError
        self._model.scheduler.check_process()

    def close(self) -> None:
        """Free the cache, after the pass in progress."""
        self._closed = True
        self._model.detach(self)
        with self._lock:
            self._free_cache()

    def _free_cache(self) -> None:
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _log_softmax(logits: NDArray[np.float32], targets: Sequence[int]) -> LogProbabilities:
    """Return the log-probabilities of `targets` [n] under logits [n, vocabulary].

    Works row by row, to need no second array of that size; sums are float64.
    """
    return np.fromiter(
        (_log_probability(row, target) for row, target in zip(logits, targets, strict=True)),
        np.float32,
    )


def _log_probability(logits: NDArray[np.float32], target: int) -> float:
    top = logits.max()
    total = np.exp(logits - top).sum(dtype=np.float64)
    return float(logits[target]) - float(top) - math.log(total)
