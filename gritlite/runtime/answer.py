"""Streamed answers: generated tokens become pieces of text and end at stop conditions."""

import codecs
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import partial

from gritlite.errors import InputTooLongError, TruncationWarning, UsageError
from gritlite.runtime.generator import Generator, TokenSequence
from gritlite.runtime.log_probabilities import RecordingSampler, TokenLogProbability
from gritlite.runtime.loops import loops
from gritlite.runtime.options import GenerateOptions
from gritlite.runtime.pieces import FinishReason, Pieces
from gritlite.runtime.state import State
from gritlite.system.progress import ProgressCallback
from gritlite.system.wording import counted

MakeRoom = Callable[[], list[int] | None]

_SHOWN = 60  # characters in an answer's repr
_LOOP_CHECK = 16  # tokens between two looks for a loop


class Answer(Pieces):
    """A streamed answer: iterate over its pieces of text.

    Attributes: `text` so far; `document`, the state that the prompt follows;
    `tokens`, the ids of prompt and answer; `prompt_tokens`, their number in the prompt;
    `generated`, the answer's ids; `finish_reason`, None until it ends; `dropped`, the
    number of messages left out to make room. `cancel()` may be called from any thread and
    takes effect within one token, also while the prompt is evaluated.
    """

    def __init__(
        self,
        generator: Generator,
        prompt: Sequence[int],
        options: GenerateOptions,
        *,
        document: State | None = None,
        make_room: MakeRoom | None = None,
        on_end: "Callable[[Answer], None] | None" = None,
    ) -> None:
        if not prompt:
            raise UsageError("the prompt is empty: there is nothing to continue")
        self._room = generator.room(document)
        if len(prompt) >= self._room:
            raise InputTooLongError(
                f"the prompt has {len(prompt)} tokens, but {generator.describe_room(document)}: "
                "shorten it or load the model with a longer context"
            )
        super().__init__(document)
        self.prompt_tokens = len(prompt)
        self.dropped = 0
        self._generator = generator
        self._vocabulary = generator.engine.vocabulary
        sampler = generator.engine.sampler(options.sampling, prompt)
        self._records: list[TokenLogProbability] = []
        if options.top_logprobs is not None:
            sampler = RecordingSampler(sampler, options.top_logprobs)
            self._records = sampler.records
        self._sequence = TokenSequence(document, list(prompt), sampler)
        # without a reference to this object, which is freed as soon as it is dropped
        self._sequence.progress = partial(_report, options.progress, self._sequence.cancel)
        self._options = options
        self._make_room = make_room
        self._on_end = on_end
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stopped = False  # at a stop string
        self._pending = ""  # text that may be the beginning of a stop string

    def __repr__(self) -> str:
        """Say how far the answer is, and how its text begins."""
        state = self.finish_reason or "not ended"
        shown = self.text if len(self.text) <= _SHOWN else f"{self.text[:_SHOWN]}…"
        return f"<Answer: {counted(len(self.generated), 'token')}, {state}, {shown!r}>"

    @property
    def tokens(self) -> list[int]:
        """The ids of the prompt and the answer."""
        return self._sequence.tokens

    @property
    def new_tokens(self) -> int:
        """How many tokens are still to be evaluated before the next one can be generated."""
        return self._generator.new_tokens(self._sequence)

    @property
    def cached_tokens(self) -> int:
        """How many of the prompt's tokens needed no evaluation; 0 before the first token."""
        return self._sequence.cached or 0

    @property
    def logprobs(self) -> list[TokenLogProbability]:
        """Log-probabilities of the `generated` tokens, if `top_logprobs` asked for them."""
        return self._records[: len(self.generated)]

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._sequence.cancel.is_set()

    def cancel(self) -> None:
        """End the answer within one token. The text so far stays."""
        self._sequence.cancel.set()
        self._generator.wake()

    def _advance(self) -> str:
        if self.cancelled:
            return self._finish("cancelled")
        if len(self.tokens) >= self._room and not self._find_room():
            return self._finish("context")
        token = self._generator.next_token(self._sequence)
        if token is None:
            return self._finish("cancelled")
        if self._vocabulary.is_end(token):
            return self._finish("stop")
        self.tokens.append(token)
        self.generated.append(token)
        self._pending += self._decoder.decode(self._vocabulary.piece(token))
        found = _first_stop(self._pending, self._options.stop)
        if found is not None:
            self._pending, self._stopped = self._pending[:found], True
            return self._finish("stop")
        if len(self.generated) == self._options.max_tokens:
            return self._finish("length")
        if self._loops():
            return self._finish("loop")
        safe = len(self._pending) - _partial_stop_length(self._pending, self._options.stop)
        return self._emit(safe)

    def _loops(self) -> bool:
        due = self._options.stop_loops and len(self.generated) % _LOOP_CHECK == 0
        return due and loops(self.text + self._pending)

    def _find_room(self) -> bool:
        prompt = self._make_room() if self._make_room is not None else None
        if prompt is None or len(prompt) + len(self.generated) >= self._room:
            return False
        self._sequence.tokens = prompt + self.generated
        self.prompt_tokens = len(prompt)
        return True

    def _finish(self, reason: FinishReason) -> str:
        """End the answer, without the bytes of an incomplete last character."""
        self.finish_reason = reason
        piece = self._emit(len(self._pending))
        self._release()
        if self._on_end is not None:
            self._on_end(self)
        return piece

    def _emit(self, length: int) -> str:
        """Move the first `length` characters of the pending text to the answer's text."""
        piece, self._pending = self._pending[:length], self._pending[length:]
        self.text += piece
        return piece

    @property
    def is_exact(self) -> bool:
        """Whether `text` is exactly the text of the generated tokens."""
        return not self._decoder.getstate()[0] and not self._stopped

    def close(self) -> None:
        """Stop an answer before its end, from any thread."""
        self.cancel()
        with self._lock:
            if self.finish_reason is None:
                self.finish_reason = "cancelled"
            self._release()

    def _release(self) -> None:
        self._sequence.sampler.close()
        self._generator.release(self._sequence)


def _first_stop(text: str, stops: Sequence[str]) -> int | None:
    found = [text.index(stop) for stop in stops if stop in text]
    return min(found, default=None)


def _partial_stop_length(text: str, stops: Sequence[str]) -> int:
    """Return the length of the longest suffix of `text` that begins a stop string."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0


def _report(progress: ProgressCallback, cancel: threading.Event, done: int, total: int) -> None:
    """Report evaluated tokens; an error of the callback ends the answer."""
    try:
        progress(done, total)
    except BaseException:
        cancel.set()
        raise


def warn_dropped(count: int, context_length: int) -> None:
    """Warn the caller's caller if the oldest messages were left out of an answer."""
    if count:
        oldest = "message was" if count == 1 else f"{counted(count, 'message')} were"
        warnings.warn(
            f"the context of {context_length:,} tokens is full: the oldest {oldest} left out",
            TruncationWarning,
            stacklevel=3,
        )
