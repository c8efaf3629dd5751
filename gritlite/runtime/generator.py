"""Generation, one token at a time, for any number of answers with one decoder.

The decoder's cache holds the tokens evaluated last, and only the tokens that a new prompt
adds are evaluated. Several answers may be open at once: when one is read, its tokens are
brought back into the cache, so a result never depends on other answers. Evicted
conversations are saved within a budget (`conversations`). The module does not know
messages, templates or text.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gritlite.errors import ClosedError, InputTooLongError, OutOfMemoryError
from gritlite.runtime.conversations import Conversations
from gritlite.runtime.engine import Engine, KeyValues, PrefillEngine, Sampler
from gritlite.runtime.finite import check_logits, check_state
from gritlite.runtime.kv_cache import KVCache
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.state import State
from gritlite.system.machine import check_free_memory

PREFILL_TOKENS = 512  # per call while a prompt is evaluated; cancelling waits for one call
_MIN_PREFILL_TOKENS = 128  # from which on handing a state over is faster than llama.cpp alone
_IDLE_SECONDS = 0.25  # another answer may take the cache of one that is not read for this long
# saving a conversation copies its whole cache: it must save this many tokens, and this share
_MIN_SAVED_TOKENS, _MIN_SAVED_SHARE = 32, 0.1


@dataclass(eq=False)
class TokenSequence:
    """The tokens of one unfinished answer, and the sampler of the next one.

    `tokens` are those of the prompt and the answer; they follow the state of `document` if
    there is one.
    """

    document: State | None
    tokens: list[int]
    sampler: Sampler
    cancel: threading.Event = field(default_factory=threading.Event)


class Generator:
    """Generates tokens for sequences that share one decoder. Thread-safe.

    `context_length` is the maximum number of tokens in a sequence, and
    `conversation_bytes` the memory budget for interrupted conversations, of which each token
    takes `token_bytes`. `context_bytes` is the machine's memory that the context needs besides
    the weights. `prefill_engine` evaluates long prompts, but for their last token, if there is
    one. Raises OutOfMemoryError when it is first used without that much memory free.
    """

    def __init__(
        self,
        engine: Engine,
        scheduler: Scheduler,
        *,
        context_length: int,
        conversation_bytes: int,
        token_bytes: int,
        context_bytes: int,
        prefill_engine: PrefillEngine | None = None,
    ) -> None:
        self.engine = engine
        self.context_length = context_length
        self.evaluated = 0  # tokens evaluated since the start
        self._context_bytes = context_bytes
        self._prefill_engine = prefill_engine
        self._scheduler = scheduler
        self._conversations = Conversations(conversation_bytes, token_bytes)
        self._cache: KVCache | None = None
        self._holds_conversation = False  # rather than the tokens of `prefill`
        self._lock = threading.Lock()
        self._owner: TokenSequence | None = None
        self._owner_seen = 0.0
        self._released = threading.Condition()
        self._closed = False

    def room(self, document: State | None) -> int:
        """Return the number of tokens that the context holds after a document."""
        return self.context_length - (0 if document is None else document.tokens)

    def describe_room(self, document: State | None) -> str:
        """Return a description of the context's capacity, for error messages."""
        taken = "" if document is None else f" and the document takes {document.tokens}"
        return f"the context holds {self.context_length}{taken}"

    def new_tokens(self, sequence: TokenSequence) -> int:
        """Return how many tokens of a sequence the cache does not hold at this moment."""
        cache, before = self._cache, sequence.tokens[:-1]
        return len(sequence.tokens) - (cache.reusable(sequence.document, before) if cache else 0)

    def next_token(self, sequence: TokenSequence) -> int | None:
        """Evaluate a sequence's new tokens and return its next token; None when cancelled."""
        self._scheduler.check_process()
        try:
            if not self._claim(sequence):
                return None
            with self._lock:
                cache = self._ready_cache()
                if not self._evaluate(cache, sequence):
                    return None
                with self._scheduler.turn("generate"):
                    return sequence.sampler.choose(check_logits(cache.logits(1)[0]))
        finally:  # also if Ctrl-C came right after the claim
            if self._owner is sequence:
                self._owner_seen = time.monotonic()

    def prefill(self, tokens: Sequence[int]) -> KeyValues:
        """Evaluate tokens causally and return their keys and values.

        Raises InputTooLongError for more tokens than the context holds.
        """
        if len(tokens) > self.context_length:
            raise InputTooLongError(
                f"{len(tokens)} tokens, but {self.describe_room(None)}: shorten the text or load "
                "the model with a longer context"
            )
        with self._lock:
            cache = self._ready_cache()
            self._save_conversation(cache, cache.reusable(None, tokens))
            self._load_document(cache, None, lambda: False)
            reused = cache.retain_prefix(tokens)
            self._holds_conversation = False
            self._evaluate_tokens(cache, tokens[reused:], lambda: False)
            return check_state(cache.save().key_values)

    def _ready_cache(self) -> KVCache:
        if self._closed:
            raise ClosedError
        if self._cache is None:
            check_free_memory(
                self._context_bytes,
                f"no context of {self.context_length} tokens could be made: it",
                "use a shorter one",
            )
            batch = min(PREFILL_TOKENS, self.context_length)
            self._cache = KVCache(self.engine.open_decoder(self.context_length, batch))
        return self._cache

    def _evaluate(self, cache: KVCache, sequence: TokenSequence) -> bool:
        before = sequence.tokens[:-1]  # the last one is evaluated for its logits
        self._swap_conversations(cache, sequence.document, before)
        if not self._load_document(cache, sequence.document, sequence.cancel.is_set):
            return False
        reused = cache.retain_prefix(before)
        self._holds_conversation = True
        return self._evaluate_tokens(cache, sequence.tokens[reused:], sequence.cancel.is_set)

    def _swap_conversations(
        self, cache: KVCache, document: State | None, tokens: Sequence[int]
    ) -> None:
        """Save the conversation about to be evicted, and restore one that `tokens` continue."""
        reusable = cache.reusable(document, tokens)
        if reusable == len(tokens):
            return
        saved = self._conversations.take(document, tokens, at_least=reusable + _MIN_SAVED_TOKENS)
        self._save_conversation(cache, reusable)
        if saved is not None:
            with self._scheduler.turn("generate"):
                cache.load(saved)

    def _save_conversation(self, cache: KVCache, reusable: int) -> None:
        """Save the cache if it holds a conversation of which more than a little would be lost."""
        lost = cache.tokens - reusable
        if (
            self._holds_conversation
            and lost >= max(_MIN_SAVED_TOKENS, _MIN_SAVED_SHARE * cache.size)
            and self._conversations.accepts(cache.size)
        ):
            with self._scheduler.turn("generate"):
                self._conversations.add(cache.save())

    def _load_document(
        self, cache: KVCache, document: State | None, cancelled: Callable[[], bool]
    ) -> bool:
        """Load a document into the cache; return False if cancelled meanwhile."""
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

    def _evaluate_tokens(
        self, cache: KVCache, tokens: Sequence[int], cancelled: Callable[[], bool]
    ) -> bool:
        """Evaluate tokens after those in the cache; return False if cancelled meanwhile."""
        first = self._hand_over(cache, tokens[:-1], cancelled)  # the last one has logits
        for start in range(first, len(tokens), PREFILL_TOKENS):
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

    def _hand_over(
        self, cache: KVCache, tokens: Sequence[int], cancelled: Callable[[], bool]
    ) -> int:
        """Let the prefill engine evaluate tokens, if it is worth it; return how many it did.

        It stops when cancelled, and when memory runs out: the decoder needs less.
        """
        total, done, engine = cache.size + len(tokens), 0, self._prefill_engine
        if engine is None or len(tokens) < _MIN_PREFILL_TOKENS or total > engine.prefill_limit:
            return done
        with contextlib.ExitStack() as stack, contextlib.suppress(OutOfMemoryError):
            with self._scheduler.turn("generate"):
                before = cache.save().key_values if cache.size else None
                prefill = engine.open_prefill(before, total)
            stack.callback(prefill.close)
            while done < len(tokens) and not (cancelled() or self._closed):
                part = tokens[done : done + prefill.part_tokens]
                with self._scheduler.turn("generate"):
                    cache.append(part, prefill.evaluate(part))
                done += len(part)
                self.evaluated += len(part)
        return done

    def _claim(self, sequence: TokenSequence) -> bool:
        """Take the cache; wait while another sequence is being read, as swapping is costly.

        Returns False if cancelled meanwhile, without taking the cache.
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
            self._owner_seen = float("inf")  # not idle while it evaluates
            return True

    def release(self, sequence: TokenSequence) -> None:
        """Give up the cache of a sequence that has ended."""
        with self._released:
            if self._owner is sequence:
                self._owner = None
        self.wake()

    def wake(self) -> None:
        """Make waiting sequences check again whether they may proceed or were cancelled."""
        with self._released:
            self._released.notify_all()

    def clear(self) -> None:
        """Empty the cache and drop saved conversations, so that all is evaluated again."""
        with self._lock:
            self._conversations.clear()
            if self._cache is not None:
                self._load_document(self._cache, None, lambda: False)
                self._cache.retain_prefix([])

    def close(self) -> None:
        """Free the decoder, after the token in progress. Open sequences end with ClosedError."""
        self._closed = True
        self.wake()
        with self._lock:
            self._conversations.clear()
            if self._cache is not None:
                self._cache.close()
                self._cache = None
