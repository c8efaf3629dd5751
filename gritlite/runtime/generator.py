"""Generation, one token at a time, for any number of answers with one decoder.

The decoder's cache keeps what was evaluated last, and only what a new prompt adds is
evaluated. Several answers may be open at once: whichever is read next has its tokens brought
back into the cache, so a result never depends on what others do. What another answer pushes
out is kept for a while (`conversations`). The module knows nothing of messages, templates
or text.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gritlite.errors import ClosedError, InputTooLongError
from gritlite.runtime.conversations import Conversations
from gritlite.runtime.engine import Engine, KeyValues, Sampler
from gritlite.runtime.kv_cache import KVCache
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.state import State

PREFILL_TOKENS = 512  # tokens per call while a prompt is read; cancelling waits for one call
_IDLE_SECONDS = 0.25  # an open answer that nobody reads for so long gives its cache away
# a conversation is saved for so many tokens, or such a share of what would be copied, and more
_FEWEST_SAVED, _LEAST_SHARE = 32, 0.1


@dataclass(eq=False)
class TokenSequence:
    """The tokens of one answer in the making, and how the next one is chosen.

    `tokens` are those of the prompt and the answer, behind the state of a `document` if
    there is one.
    """

    document: State | None
    tokens: list[int]
    sampler: Sampler
    cancel: threading.Event = field(default_factory=threading.Event)


class Generator:
    """Makes tokens for sequences that take turns. Thread-safe.

    `context_length` is the number of tokens that a sequence can hold, and
    `conversation_bytes` the most bytes that interrupted conversations may take.
    """

    def __init__(
        self,
        engine: Engine,
        scheduler: Scheduler,
        *,
        context_length: int,
        conversation_bytes: int = 0,
    ) -> None:
        self.engine = engine
        self.context_length = context_length
        self.evaluated = 0  # tokens evaluated since the start
        self._scheduler = scheduler
        self._conversations = Conversations(conversation_bytes)
        self._cache: KVCache | None = None
        self._holds_conversation = False  # or what `state` left
        self._lock = threading.Lock()
        self._owner: TokenSequence | None = None
        self._owner_seen = 0.0
        self._released = threading.Condition()
        self._closed = False

    def room(self, document: State | None) -> int:
        """The tokens that the context holds behind a document."""
        return self.context_length - (0 if document is None else document.tokens)

    def describe_room(self, document: State | None) -> str:
        """What the context holds, for messages."""
        beside = "" if document is None else f" and the document takes {document.tokens}"
        return f"the context holds {self.context_length}{beside}"

    def next_token(self, sequence: TokenSequence) -> int | None:
        """Evaluate what is new of a sequence and choose its next token; None when cancelled."""
        if not self._claim(sequence):
            return None
        try:
            with self._lock:
                cache = self._ready_cache()
                if not self._evaluate(cache, sequence):
                    return None
                with self._scheduler.turn("generate"):
                    return sequence.sampler.choose(cache.logits(1)[0])
        finally:
            self._owner_seen = time.monotonic()

    def state(self, tokens: Sequence[int]) -> KeyValues:
        """The keys and values that tokens leave when they are evaluated causally.

        Raises InputTooLongError for more than the context holds.
        """
        if len(tokens) > self.context_length:
            raise InputTooLongError(
                f"{len(tokens)} tokens, but {self.describe_room(None)}: shorten the text or load "
                "the model with a longer context"
            )
        with self._lock:
            cache = self._ready_cache()
            self._make_way(cache, None, tokens)
            self._put(cache, None, lambda: False)
            kept = cache.keep(tokens)
            self._holds_conversation = False
            self._add(cache, tokens[kept:], lambda: False)
            return cache.save().key_values

    def _ready_cache(self) -> KVCache:
        if self._closed:
            raise ClosedError
        if self._cache is None:
            batch = min(PREFILL_TOKENS, self.context_length)
            self._cache = KVCache(self.engine.open_decoder(self.context_length, batch))
        return self._cache

    def _evaluate(self, cache: KVCache, sequence: TokenSequence) -> bool:
        before = sequence.tokens[:-1]  # the last one is evaluated for its logits
        self._make_way(cache, sequence.document, before)
        if not self._put(cache, sequence.document, sequence.cancel.is_set):
            return False
        kept = cache.keep(before)
        self._holds_conversation = True
        return self._add(cache, sequence.tokens[kept:], sequence.cancel.is_set)

    def _make_way(self, cache: KVCache, document: State | None, tokens: Sequence[int]) -> None:
        """Save a conversation that is about to be pushed out, and bring back the one to come."""
        held = cache.reusable(document, tokens)
        if held == len(tokens):
            return
        lost = cache.tokens - held
        worth_saving = (
            self._holds_conversation
            and lost >= max(_FEWEST_SAVED, _LEAST_SHARE * cache.size)
            and self._conversations.accepts(cache.size)
        )
        saved = self._conversations.take(document, tokens, at_least=held + _FEWEST_SAVED)
        if worth_saving or saved is not None:
            with self._scheduler.turn("generate"):
                if worth_saving:
                    self._conversations.add(cache.save())
                if saved is not None:
                    cache.load(saved)

    def _put(self, cache: KVCache, document: State | None, cancelled: Callable[[], bool]) -> bool:
        """Bring a document into the cache; False when cancelled meanwhile."""
        if cache.holds(document):
            return True
        with contextlib.closing(cache.restore(document)) as steps:
            while True:
                if cancelled():
                    return False
                if self._closed:
                    raise ClosedError
                with self._scheduler.turn("generate"):
                    evaluated = next(steps, None)
                if evaluated is None:
                    return True
                self.evaluated += evaluated

    def _add(self, cache: KVCache, tokens: Sequence[int], cancelled: Callable[[], bool]) -> bool:
        """Evaluate tokens behind those that the cache holds; False when cancelled meanwhile."""
        for start in range(0, len(tokens), PREFILL_TOKENS):
            if cancelled():
                return False
            if self._closed:
                raise ClosedError
            part = list(tokens[start : start + PREFILL_TOKENS])
            outputs = np.zeros(len(part), np.bool_)
            outputs[-1] = start + len(part) == len(tokens)
            with self._scheduler.turn("generate"):
                cache.add(part, outputs)
            self.evaluated += len(part)
        return True

    def _claim(self, sequence: TokenSequence) -> bool:
        """Wait while another sequence is being read; a cache that changes hands is costly.

        False when cancelled meanwhile: then it stays the other's.
        """
        with self._released:
            cancelled = sequence.cancel.is_set
            while self._owner not in (None, sequence) and not (cancelled() or self._closed):
                idle = time.monotonic() - self._owner_seen
                if idle >= _IDLE_SECONDS:
                    break
                self._released.wait(min(_IDLE_SECONDS - max(idle, 0.0), _IDLE_SECONDS))
            if cancelled():
                return False
            self._owner = sequence
            self._owner_seen = float("inf")  # not idle while it works
            return True

    def release(self, sequence: TokenSequence) -> None:
        """Let others have the cache: the sequence has ended."""
        with self._released:
            if self._owner is sequence:
                self._owner = None
        self.wake()

    def wake(self) -> None:
        """Let waiting sequences see whether they may go on, or were cancelled."""
        with self._released:
            self._released.notify_all()

    def forget(self) -> None:
        """Evaluate everything anew from now on: the weights have changed, or times are measured."""
        with self._lock:
            self._conversations.clear()
            if self._cache is not None:
                self._put(self._cache, None, lambda: False)
                self._cache.keep([])

    def close(self) -> None:
        """Free the decoder, after the token in progress. Open sequences end with ClosedError."""
        self._closed = True
        self.wake()
        with self._lock:
            self._conversations.clear()
            if self._cache is not None:
                self._cache.close()
                self._cache = None
