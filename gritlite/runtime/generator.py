"""Generation, one token at a time, for any number of answers with a few decoders.

Each decoder's cache, a slot, holds the tokens evaluated last, and only the tokens that a new
prompt adds are evaluated. More answers than slots may be open at once: when one is read, its
tokens are brought back into a slot, so a result never depends on other answers. Answers that
are read at the same time are decoded in one batch (`together`). Evicted conversations are saved
within a budget (`conversations`). The module does not know messages, templates or text.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from gritlite.errors import CancelledError, ClosedError, InputTooLongError, OutOfMemoryError
from gritlite.runtime.conversations import Conversations
from gritlite.runtime.engine import (
    Decoders,
    Engine,
    KeyValues,
    Logits,
    PrefillEngine,
    Sampler,
    Step,
)
from gritlite.runtime.finite import check_logits, check_state
from gritlite.runtime.kv_cache import KVCache
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.slots import Slot, Slots
from gritlite.runtime.state import State
from gritlite.runtime.together import Request, Together
from gritlite.system.machine import check_free_memory
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.watch import AnyFlag, Flag

PREFILL_TOKENS = 512  # per call while a prompt is evaluated; cancelling waits for one call
_MIN_PREFILL_TOKENS = 128  # from which on handing a state over is faster than llama.cpp alone
# saving a conversation copies its whole cache: it must save this many tokens, and this share
_MIN_SAVED_TOKENS, _MIN_SAVED_SHARE = 32, 0.1


@dataclass(eq=False)
class TokenSequence:
    """The tokens of one unfinished answer, and the sampler of the next one.

    `tokens` are those of the prompt and the answer; they follow the state of `document` if
    there is one. `progress` is called as a prompt's tokens are evaluated. `cached` is how many
    of them the cache held when the answer began, None before.
    """

    document: State | None
    tokens: list[int]
    sampler: Sampler
    cancel: threading.Event = field(default_factory=threading.Event)
    progress: ProgressCallback = no_progress
    cached: int | None = None


class Generator:
    """Generates tokens for sequences. Thread-safe.

    Up to `parallel` sequences are decoded together; others wait until one of them is released,
    or not read for a moment. `context_length` is the maximum number of tokens in a sequence, and
    `conversation_bytes` the memory budget for interrupted conversations, of which each token
    takes `token_bytes`. `context_bytes` is the machine's memory that all sequences need besides
    the weights. `prefill_engine` evaluates long prompts, but for their last token, if there is
    one. Once `closing` is set, or `close` was called, all sequences end with ClosedError.
    Raises OutOfMemoryError when it is first used without that much memory free.
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
        parallel: int = 1,
        prefill_engine: PrefillEngine | None = None,
        closing: threading.Event | None = None,
    ) -> None:
        self.engine = engine
        self.context_length = context_length
        self.evaluated = 0  # tokens evaluated since the start
        self._parallel = parallel
        self._context_bytes = context_bytes
        self._prefill_engine = prefill_engine
        self._scheduler = scheduler
        self._conversations = Conversations(conversation_bytes, token_bytes)
        self._lock = threading.Lock()  # held while the decoders are opened, emptied or closed
        self._decoders: Decoders | None = None
        self._slots = Slots([])
        self._together: Together  # from when they are open
        self._closing = closing or threading.Event()

    def room(self, document: State | None) -> int:
        """Return the number of tokens that the context holds after a document."""
        return self.context_length - (0 if document is None else document.tokens)

    def describe_room(self, document: State | None) -> str:
        """Return a description of the context's capacity, for error messages."""
        taken = "" if document is None else f" and the document takes {document.tokens}"
        return f"the context holds {self.context_length}{taken}"

    def new_tokens(self, sequence: TokenSequence) -> int:
        """Return how many tokens of a sequence no slot holds at this moment."""
        before = sequence.tokens[:-1]
        reusable = (slot.cache.reusable(sequence.document, before) for slot in self._slots)
        return len(sequence.tokens) - max(reusable, default=0)

    def next_token(self, sequence: TokenSequence) -> int | None:
        """Evaluate a sequence's new tokens and return its next token; None when cancelled."""
        self._scheduler.check_process()
        self._open()
        try:
            slot = self._slots.claim(sequence, partial(self._stopped, sequence.cancel))
            if slot is None:
                self._check_open()
                return None
            with slot.lock:
                return self._evaluate(slot, sequence)
        finally:  # also if Ctrl-C came right after the claim
            self._slots.served(sequence)

    def prefill(
        self,
        tokens: Sequence[int],
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> KeyValues:
        """Evaluate tokens causally and return their keys and values.

        Raises InputTooLongError for more tokens than the context holds, and CancelledError.
        """
        if len(tokens) > self.context_length:
            raise InputTooLongError(
                f"{len(tokens)} tokens, but {self.describe_room(None)}: shorten the text or load "
                "the model with a longer context"
            )
        self._open()
        cancel = cancel or threading.Event()
        slot = self._slots.best(None, tokens)  # its owner, if any, goes on afterwards
        with slot.lock:
            with self._turn():
                self._save_conversation(slot, slot.cache.reusable(None, tokens))
            self._load_document(slot.cache, None, cancel)
            with self._turn():
                reused = slot.cache.retain_prefix(tokens)
            slot.holds_conversation = False
            if reused < len(tokens):
                self._evaluate_tokens(slot, tokens[reused:], cancel, progress, lambda _: 0)
            if cancel.is_set():
                raise CancelledError("evaluating the text was cancelled")
            with self._turn():
                return check_state(slot.cache.save().key_values)

    def _open(self) -> None:
        with self._lock:
            self._check_open()
            if self._decoders is not None:
                return
            check_free_memory(
                self._context_bytes,
                f"no context of {self.context_length} tokens could be made: it",
                "use a shorter one" + ", or fewer in parallel" * (self._parallel > 1),
            )
            batch = min(PREFILL_TOKENS, self.context_length)
            decoders = self.engine.open_decoders(self._parallel, self.context_length, batch)
            caches = map(KVCache, decoders.members)
            self._slots = Slots([Slot(index, cache) for index, cache in enumerate(caches)])
            self._together = Together(decoders, self._scheduler)
            self._decoders = decoders

    def _stopped(self, cancel: threading.Event) -> bool:
        return self._closing.is_set() or cancel.is_set()

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ClosedError

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the decoders for one call. Raises ClosedError."""
        with self._together.turn():
            self._check_open()
            yield

    def _evaluate(self, slot: Slot, sequence: TokenSequence) -> int | None:
        cache, cancel = slot.cache, sequence.cancel
        before = sequence.tokens[:-1]  # the last one is evaluated for its logits
        reused = cache.reusable(sequence.document, before)
        if reused < max(len(before), cache.tokens) or not cache.holds(sequence.document):
            with self._turn():
                self._swap_conversations(slot, sequence.document, before)
            if not self._load_document(cache, sequence.document, cancel):
                self._check_open()
                return None
            with self._turn():
                reused = cache.retain_prefix(before)
        if sequence.cached is None:
            sequence.cached = reused
        slot.holds_conversation = True

        def choose(logits: Logits) -> int:
            return sequence.sampler.choose(check_logits(logits))

        new = sequence.tokens[reused:]
        return self._evaluate_tokens(slot, new, cancel, sequence.progress, choose)

    def _swap_conversations(
        self, slot: Slot, document: State | None, tokens: Sequence[int]
    ) -> None:
        """Save the conversation about to be evicted, and restore one that `tokens` continue."""
        reusable = slot.cache.reusable(document, tokens)
        if reusable == len(tokens):
            return
        saved = self._conversations.take(document, tokens, at_least=reusable + _MIN_SAVED_TOKENS)
        self._save_conversation(slot, reusable)
        if saved is not None:
            slot.cache.load(saved)

    def _save_conversation(self, slot: Slot, reusable: int) -> None:
        """Save a slot if it holds a conversation of which more than a little would be lost."""
        cache = slot.cache
        lost = cache.tokens - reusable
        if (
            slot.holds_conversation
            and lost >= max(_MIN_SAVED_TOKENS, _MIN_SAVED_SHARE * cache.size)
            and self._conversations.accepts(cache.document, cache.size)
        ):
            self._conversations.add(cache.save())

    def _load_document(
        self, cache: KVCache, document: State | None, cancel: threading.Event
    ) -> bool:
        """Load a document into a cache; return False if cancelled meanwhile."""
        if cache.holds(document):
            return True
        steps = cache.restore(document, AnyFlag(cancel, self._closing))
        try:
            while not cancel.is_set():
                with self._turn():
                    evaluated = next(steps, None)
                if evaluated is None:
                    return True
                self.evaluated += evaluated
            return False
        except CancelledError:
            return False
        finally:
            with self._together.turn():
                steps.close()  # empties the cache unless the whole document is there

    def _evaluate_tokens(
        self,
        slot: Slot,
        tokens: Sequence[int],
        cancel: threading.Event,
        progress: ProgressCallback,
        choose: Callable[[Logits], int],
    ) -> int | None:
        """Evaluate tokens after those in a slot, and choose the next; None if cancelled."""
        try:
            return self._evaluate_parts(slot, tokens, cancel, progress, choose)
        except CancelledError:
            self._check_open()
            return None

    def _evaluate_parts(
        self,
        slot: Slot,
        tokens: Sequence[int],
        cancel: threading.Event,
        progress: ProgressCallback,
        choose: Callable[[Logits], int],
    ) -> int | None:
        """Do as `_evaluate_tokens`; raises CancelledError if cancelled within a part."""
        cache, stopped = slot.cache, partial(self._stopped, cancel)
        stop = AnyFlag(cancel, self._closing)
        report = partial(_report, progress, len(tokens))
        first = self._hand_over(cache, tokens[:-1], stop, report)  # the last one has logits
        while len(tokens) - first > 1:
            part = list(tokens[first : first + PREFILL_TOKENS])
            first += len(part)
            outputs = np.zeros(len(part), np.bool_)
            outputs[-1] = first == len(tokens)
            with self._together.turn(stopped) as held:
                if not held:
                    self._check_open()
                    return None
                cache.add(part, outputs, stop)
                self.evaluated += len(part)
                chosen = choose(cache.logits(1)[0]) if first == len(tokens) else None
            report(first)
            if chosen is not None:
                return chosen

        def added(logits: Logits) -> int:
            cache.track(tokens[-1])
            self.evaluated += 1
            return choose(logits)

        step = Step(slot.index, tokens[-1], cache.size)
        token = self._together.decode(Request(step, added), stopped)
        if token is None:
            self._check_open()
        return token

    def _hand_over(
        self, cache: KVCache, tokens: Sequence[int], stop: Flag, report: Callable[[int], None]
    ) -> int:
        """Let the prefill engine evaluate tokens, if it is worth it; return how many it did.

        It stops when cancelled, and when memory runs out: the decoder needs less.
        """
        total, done, engine = cache.size + len(tokens), 0, self._prefill_engine
        if engine is None or len(tokens) < _MIN_PREFILL_TOKENS or total > engine.prefill_limit:
            return done
        with contextlib.ExitStack() as stack, contextlib.suppress(OutOfMemoryError):
            with self._turn():
                before = cache.save().key_values if cache.size else None
                prefill = engine.open_prefill(before, total)
            stack.callback(prefill.close)
            while done < len(tokens) and not stop.is_set():
                part = tokens[done : done + prefill.part_tokens]
                with self._turn():
                    cache.append(part, prefill.evaluate(part, stop))
                done += len(part)
                self.evaluated += len(part)
                report(done)
        return done

    def release(self, sequence: TokenSequence) -> None:
        """Give up the slot of a sequence that has ended."""
        slot = self._slots.release(sequence)
        if slot is not None:
            self._together.forget(slot.index)

    def wake(self) -> None:
        """Make waiting sequences check again whether they may proceed or were cancelled."""
        self._slots.wake()
        if self._decoders is not None:
            self._together.wake()

    def clear(self) -> None:
        """Empty all slots and drop saved conversations, so that all is evaluated again."""
        never = threading.Event()
        with self._lock:
            for slot in self._slots:
                with slot.lock:
                    self._load_document(slot.cache, None, never)
                    with self._turn():
                        slot.cache.retain_prefix([])
                        slot.holds_conversation = False
            self._conversations.clear()

    def close(self) -> None:
        """Free the decoders, after the tokens in progress. Open sequences end with ClosedError."""
        self._closing.set()
        self.wake()
        with self._lock, contextlib.ExitStack() as locks:
            for slot in self._slots:
                locks.enter_context(slot.lock)
            self._conversations.clear()
            self._slots = Slots([])
            if self._decoders is not None:
                self._decoders.close()
                self._decoders = None


def _report(progress: ProgressCallback, total: int, done: int) -> None:
    """Report how many of a prompt's tokens are evaluated; single tokens are not reported."""
    if total > 1:
        progress(done, total)
