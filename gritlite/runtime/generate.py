"""Generation: tokens in, text out, one token at a time.

The engine keeps the key-value cells of what it evaluated last and evaluates
only what a new prompt adds. Several answers may be open at once: whichever is
read next has its tokens brought back into the cells, so a result never depends
on what others do. Knows nothing of messages or templates.
"""

import codecs
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np

from gritlite.errors import ClosedError, InputTooLongError, UsageError
from gritlite.runtime.document import Document
from gritlite.runtime.kv_cache import SEQUENCES, KVCache
from gritlite.runtime.llama import Context, ContextOptions, Sampler, SamplingOptions, Weights
from gritlite.runtime.scheduler import Turns

FinishReason = Literal["stop", "length", "context", "cancelled"]
MakeRoom = Callable[[], list[int] | None]

PREFILL_TOKENS = 512  # tokens per call while a prompt is read; cancelling waits for one call
_IDLE_SECONDS = 0.25  # an open answer that nobody reads for so long gives its cells away


@dataclass(frozen=True)
class GenerateOptions:
    """How an answer is generated and where it ends.

    `max_tokens` None means as many as the context holds. The answer ends before
    the first of the `stop` strings, which is not part of it.
    """

    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"max_tokens is {self.max_tokens}: expected 1 or more")
        if any(not text for text in self.stop):
            raise UsageError("a stop string is empty: leave it out")


class Engine:
    """The context that generates, and what its cells hold. Thread-safe."""

    def __init__(self, weights: Weights, turns: Turns, *, n_ctx: int, threads: int) -> None:
        self.weights = weights
        self.n_ctx = n_ctx
        self.evaluated = 0  # tokens evaluated since the start
        self._turns = turns
        self._threads = threads
        self._cells: KVCache | None = None
        self._lock = threading.Lock()
        self._owner: Answer | None = None
        self._owner_seen = 0.0
        self._released = threading.Condition()
        self._closed = False

    def room(self, document: Document | None) -> int:
        """The tokens that the context holds behind a document."""
        return self.n_ctx - (0 if document is None else document.tokens)

    def next_token(self, answer: "Answer") -> int | None:
        """Bring the cells to the answer's tokens and sample one; None when cancelled meanwhile."""
        if not self._claim(answer):
            return None
        try:
            with self._lock:
                cells = self._ready_cells()
                if not self._evaluate(cells, answer):
                    return None
                with self._turns.turn("generate"):
                    return answer.sampler.sample(cells.context)
        finally:
            self._owner_seen = time.monotonic()

    def _ready_cells(self) -> KVCache:
        if self._closed:
            raise ClosedError
        if self._cells is None:
            options = ContextOptions(
                n_ctx=self.n_ctx,
                n_batch=min(PREFILL_TOKENS, self.n_ctx),
                threads=self._threads,
                n_seq_max=SEQUENCES,
            )
            self._cells = KVCache(Context(self.weights, options))
        return self._cells

    def _evaluate(self, cells: KVCache, answer: "Answer") -> bool:
        if not self._put(cells, answer.document, lambda: answer.cancelled):
            return False
        kept = cells.keep(answer.tokens[:-1])  # the last one is evaluated for its logits
        return self._add(cells, answer.tokens[kept:], lambda: answer.cancelled)

    def _put(
        self, cells: KVCache, document: Document | None, cancelled: Callable[[], bool]
    ) -> bool:
        """Bring the cells to a document; False when cancelled meanwhile."""
        if cells.holds(document):
            return True
        with contextlib.closing(cells.restore(document)) as steps:
            while True:
                if cancelled():
                    return False
                if self._closed:
                    raise ClosedError
                with self._turns.turn("generate"):
                    read = next(steps, None)
                if read is None:
                    return True
                self.evaluated += read

    def _add(self, cells: KVCache, tokens: Sequence[int], cancelled: Callable[[], bool]) -> bool:
        """Evaluate tokens behind those that the cells hold; False when cancelled meanwhile."""
        for start in range(0, len(tokens), PREFILL_TOKENS):
            if cancelled():
                return False
            if self._closed:
                raise ClosedError
            part = list(tokens[start : start + PREFILL_TOKENS])
            outputs = np.zeros(len(part), np.bool_)
            outputs[-1] = start + len(part) == len(tokens)
            with self._turns.turn("generate"):
                cells.add(part, outputs)
            self.evaluated += len(part)
        return True

    def state(self, tokens: Sequence[int]) -> bytes:
        """The cells that tokens leave when they are read causally, as `Context.save` gives them.

        Raises InputTooLongError for more than the context holds.
        """
        if len(tokens) > self.n_ctx:
            raise InputTooLongError(
                f"{len(tokens)} tokens, but {room_text(self, None)}: shorten the text or load the "
                "model with a longer context"
            )
        with self._lock:
            cells = self._ready_cells()
            self._put(cells, None, lambda: False)
            kept = cells.keep(tokens)
            self._add(cells, tokens[kept:], lambda: False)
            return cells.context.save(0)

    def _claim(self, answer: "Answer") -> bool:
        """Wait while another answer is being read; cells that change hands are costly.

        False when cancelled meanwhile: then they stay the other's.
        """
        with self._released:
            while self._owner not in (None, answer) and not (answer.cancelled or self._closed):
                idle = time.monotonic() - self._owner_seen
                if idle >= _IDLE_SECONDS:
                    break
                self._released.wait(min(_IDLE_SECONDS - max(idle, 0.0), _IDLE_SECONDS))
            if answer.cancelled:
                return False
            self._owner = answer
            self._owner_seen = float("inf")  # not idle while it works
            return True

    def release(self, answer: "Answer") -> None:
        """Tell the engine that an answer has ended."""
        with self._released:
            if self._owner is answer:
                self._owner = None
        self.wake()

    def wake(self) -> None:
        """Let waiting answers see whether they may go on, or were cancelled."""
        with self._released:
            self._released.notify_all()

    def forget(self) -> None:
        """Evaluate everything anew from now on: the weights have changed."""
        with self._lock:
            if self._cells is not None:
                self._put(self._cells, None, lambda: False)
                self._cells.keep([])

    def close(self) -> None:
        """Free the context, after the token in progress. Open answers end with ClosedError."""
        self._closed = True
        self.wake()
        with self._lock:
            if self._cells is not None:
                self._cells.context.close()
                self._cells = None


class Answer(Iterator[str]):
    """An answer in the making: iterate over its pieces of text.

    Attributes: `text` so far; `document`, the state that the prompt follows;
    `tokens`, the prompt's and the answer's ids; `prompt_tokens`; `generated`,
    the answer's ids; `finish_reason`, None until it ends; `dropped`, how many
    messages made room for it. `cancel()` may be called from any thread and takes
    effect within one token.
    """

    def __init__(
        self,
        engine: Engine,
        prompt: Sequence[int],
        options: GenerateOptions,
        *,
        document: Document | None = None,
        make_room: MakeRoom | None = None,
        on_end: "Callable[[Answer], None] | None" = None,
    ) -> None:
        if not prompt:
            raise UsageError("the prompt is empty: there is nothing to go on from")
        self._room = engine.room(document)
        if len(prompt) >= self._room:
            raise InputTooLongError(
                f"the prompt has {len(prompt)} tokens, but {room_text(engine, document)}: "
                "shorten it or load the model with a longer context"
            )
        self.text = ""
        self.document = document
        self.tokens = list(prompt)
        self.prompt_tokens = len(prompt)
        self.generated: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.dropped = 0
        self.sampler = Sampler(engine.weights, options.sampling, prompt)
        self._engine = engine
        self._options = options
        self._make_room = make_room
        self._on_end = on_end
        self._cancel = threading.Event()
        self._lock = threading.RLock()  # held while a token is made
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stopped = False  # at a stop string
        self._held = ""  # text that may be the beginning of a stop string

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """End the answer within one token. What was said so far stays."""
        self._cancel.set()
        self._engine.wake()

    def __next__(self) -> str:
        with self._lock:
            while self.finish_reason is None:
                piece = self._advance()
                if piece:
                    return piece
        raise StopIteration

    def _advance(self) -> str:
        if self.cancelled:
            return self._finish("cancelled")
        if len(self.tokens) >= self._room and not self._find_room():
            return self._finish("context")
        token = self._engine.next_token(self)
        if token is None:
            return self._finish("cancelled")
        if self._engine.weights.is_end(token):
            return self._finish("stop")
        self.tokens.append(token)
        self.generated.append(token)
        self._held += self._decoder.decode(self._engine.weights.piece(token))
        found = _first_stop(self._held, self._options.stop)
        if found is not None:
            self._held, self._stopped = self._held[:found], True
            return self._finish("stop")
        if len(self.generated) == self._options.max_tokens:
            return self._finish("length")
        safe = len(self._held) - _held_back(self._held, self._options.stop)
        return self._say(safe)

    def _find_room(self) -> bool:
        prompt = self._make_room() if self._make_room is not None else None
        if prompt is None or len(prompt) + len(self.generated) >= self._room:
            return False
        self.tokens = prompt + self.generated
        self.prompt_tokens = len(prompt)
        return True

    def _finish(self, reason: FinishReason) -> str:
        """End the answer; bytes of a character that never became whole are left out."""
        self.finish_reason = reason
        piece = self._say(len(self._held))
        self._release()
        if self._on_end is not None:
            self._on_end(self)
        return piece

    def _say(self, length: int) -> str:
        """Let go of so many characters of the held text."""
        piece, self._held = self._held[:length], self._held[length:]
        self.text += piece
        return piece

    @property
    def whole(self) -> bool:
        """Whether `text` spells exactly the generated tokens."""
        return not self._decoder.getstate()[0] and not self._stopped

    def close(self) -> None:
        """Give up an answer without reading it to its end, from any thread."""
        self.cancel()
        with self._lock:
            if self.finish_reason is None:
                self.finish_reason = "cancelled"
            self._release()

    def _release(self) -> None:
        self.sampler.close()
        self._engine.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "sampler"):
            self.sampler.close()


def room_text(engine: Engine, document: Document | None) -> str:
    """For messages: what the context holds."""
    beside = "" if document is None else f" and the document takes {document.tokens}"
    return f"the context holds {engine.n_ctx}{beside}"


def _first_stop(text: str, stops: Sequence[str]) -> int | None:
    found = [text.index(stop) for stop in stops if stop in text]
    return min(found, default=None)


def _held_back(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins one of the stop strings."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
