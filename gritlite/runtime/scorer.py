"""Scoring: how likely the model finds tokens that are already there.

Causal passes of a bounded number of tokens; of each token's logits only the
log-probability of the token that follows is kept. The cache keeps the tokens
scored last, so what two sequences begin with alike is evaluated once.
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
from gritlite.runtime.embed import grown
from gritlite.runtime.engine import Logits
from gritlite.runtime.kv_cache import KVCache
from gritlite.runtime.model import GritLM
from gritlite.runtime.template import Message

LogProbabilities = NDArray[np.float32]

PASS_TOKENS = 256  # whose logits are held at once, in llama.cpp twice
_SMALLEST_CONTEXT = 512


class Scorer:
    """Scores tokens with a model. Thread-safe; use it as a context manager.

    It has a cache of its own, which is freed with the model at the latest.
    """

    def __init__(self, model: GritLM) -> None:
        self._model = model
        self._cache: KVCache | None = None
        self._lock = threading.Lock()
        self._fingerprint = model.fingerprint
        self._closed = False
        model.attach(self)

    def score(
        self, tokens: Sequence[int], start: int = 1, *, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """Natural log-probability of each of `tokens[start:]` after all that stand before it.

        float32 [n - start], under causal attention. What the tokens begin with
        like those of the last call is not evaluated again. Raises UsageError for a `start`
        below 1 or past the end and for a token that does not exist, InputTooLongError for
        more tokens than the model's context, CancelledError within one pass of `cancel`
        being set, and ClosedError.
        """
        passes = self._passes(tokens, start, cancel)
        return np.concatenate([_log_softmax(logits, targets) for logits, targets in passes])

    def logits(
        self, tokens: Sequence[int], start: int = 1, *, cancel: threading.Event | None = None
    ) -> Logits:
        """Logits of what could stand in the place of each of `tokens[start:]`.

        float32 [n - start, vocabulary]: a long input needs much memory. Raises as `score`.
        """
        passes = self._passes(tokens, start, cancel)
        return np.concatenate([logits.copy() for logits, _ in passes])

    def score_text(
        self, prompt: str, continuation: str, *, cancel: threading.Event | None = None
    ) -> LogProbabilities:
        """`score` for the tokens of a continuation of a raw prompt, float32 [its tokens].

        Prompt and continuation become tokens apart, so that those of the prompt
        are the same for every continuation; a word's space belongs to the word.
        Raises EmptyTextError where either has no tokens, and as `score`.
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
        """Of pass after pass the logits, which the next overwrites, and the tokens that came."""
        tokens = [int(token) for token in tokens]
        self._check(tokens, start)
        inputs = tokens[:-1]  # nobody asks what follows the last one
        with self._lock:
            cache = self._ready_cache(len(inputs))
            if self._fingerprint != self._model.fingerprint:  # its weights have changed
                self._fingerprint = self._model.fingerprint
                cache.keep([])
            kept = cache.keep(inputs[: start - 1])
            for first in range(kept, len(inputs), PASS_TOKENS):
                if cancel is not None and cancel.is_set():
                    raise CancelledError("the scoring was cancelled")
                self._check_open()
                part = inputs[first : first + PASS_TOKENS]
                wanted = np.arange(first, first + len(part)) >= start - 1
                with self._model.scheduler.turn("generate"):
                    cache.add(part, wanted)
                targets = tokens[max(first + 1, start) : first + 1 + len(part)]
                yield cache.logits(len(targets)), targets

    def _check(self, tokens: Sequence[int], start: int) -> None:
        if not 1 <= start < len(tokens):
            raise UsageError(
                f"start is {start} of {len(tokens)} tokens: it needs a token before it, whose "
                "successor it is, and itself to be one of them"
            )
        most = self._model.context_length
        if len(tokens) > most:
            raise InputTooLongError(
                f"{len(tokens)} tokens to score, but the context holds {most}: score fewer "
                "or load the model with a longer context"
            )
        size = self._model.engine.vocabulary.size
        wrong = next((token for token in tokens if not 0 <= token < size), None)
        if wrong is not None:
            raise UsageError(f"{wrong} is not a token: ids go from 0 to {size - 1}")

    def _ready_cache(self, count: int) -> KVCache:
        """The cache, made twice as large or more when it is too small."""
        self._check_open()
        if self._cache is None or self._cache.capacity < count:
            self._free_cache()
            most = self._model.context_length
            size = grown(_SMALLEST_CONTEXT, count, most)
            batch = min(PASS_TOKENS, most)
            self._cache = KVCache(self._model.engine.open_decoder(size, batch, all_logits=True))
        return self._cache

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError

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
