"""An answer from a store: its text, its passages, and how long each step took."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from gritlite.rag.layouts import Layout
from gritlite.rag.search import Passage
from gritlite.runtime.any_model import AnyAnswer
from gritlite.runtime.log_probabilities import TokenLogProbability
from gritlite.runtime.pieces import FinishReason
from gritlite.system.wording import counted

NO_ANSWER = "The documents do not tell."


@dataclass(frozen=True)
class Timings:
    """Seconds from the question until each step was done.

    `found`: the passages; `prepared`: their states and the prompt; `first_token`: the first
    piece of text; `ended`: the whole answer. The last two are None until then.
    """

    found: float
    prepared: float
    first_token: float | None = None
    ended: float | None = None


class NoAnswer(Iterator[str]):
    """What is said in place of an answer where no passage can tell: `NO_ANSWER`, in one piece."""

    def __init__(self) -> None:
        self.text = ""
        self.generated: list[int] = []
        self.logprobs: list[TokenLogProbability] = []
        self.finish_reason: FinishReason | None = None
        self.cancelled = False
        self.dropped = self.prompt_tokens = self.cached_tokens = 0
        self.context_tokens = self.new_tokens = 0

    def __next__(self) -> str:
        if self.finish_reason is not None:
            raise StopIteration
        self.text = NO_ANSWER
        self.finish_reason = "stop"
        return self.text

    def cancel(self) -> None:
        """Nothing is being generated."""

    def close(self) -> None:
        """Nothing is held."""


class StoreAnswer(Iterator[str]):
    """An answer that is being generated: iterate over the pieces of its text.

    `passages` are its sources, the best first, and `layout` that of its prompt. Without any,
    because none reached the least score, the text is `NO_ANSWER` and no model wrote it.
    `best_score` is that of the best passage found, None if there was none. `states_loaded` and
    `states_computed` count the passages' states. `answer` is the model's own `Answer`.
    """

    def __init__(
        self,
        answer: AnyAnswer | NoAnswer,
        passages: list[Passage],
        layout: Layout,
        *,
        best_score: float | None,
        started: float,
        timings: Timings,
        states_loaded: int,
        states_computed: int,
    ) -> None:
        self.answer = answer
        self.passages = passages
        self.layout = layout
        self.best_score = best_score
        self.timings = timings
        self.states_loaded = states_loaded
        self.states_computed = states_computed
        self._started = started

    @property
    def text(self) -> str:
        """The text so far."""
        return self.answer.text

    @property
    def generated(self) -> list[int]:
        """The answer's token ids."""
        return self.answer.generated

    @property
    def logprobs(self) -> list[TokenLogProbability]:
        """Their log-probabilities, if `top_logprobs` asked for them."""
        return self.answer.logprobs

    @property
    def prompt_tokens(self) -> int:
        """The number of tokens in the prompt, without those of a state before it."""
        return self.answer.prompt_tokens

    @property
    def cached_tokens(self) -> int:
        """How many of the prompt's tokens needed no evaluation; 0 before the first token."""
        return self.answer.cached_tokens

    @property
    def context_tokens(self) -> int:
        """How many tokens of the context are taken."""
        return self.answer.context_tokens

    @property
    def new_tokens(self) -> int:
        """How many tokens are still to be evaluated before the next one can be generated."""
        return self.answer.new_tokens

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the answer ended; None until it has."""
        return self.answer.finish_reason

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self.answer.cancelled

    @property
    def dropped(self) -> int:
        """How many earlier messages were left out to make room."""
        return self.answer.dropped

    def __next__(self) -> str:
        try:
            piece = next(self.answer)
        except StopIteration:
            if self.timings.ended is None:
                self._record(ended=time.perf_counter() - self._started)
            raise
        if self.timings.first_token is None:
            self._record(first_token=time.perf_counter() - self._started)
        return piece

    def read(self) -> str:
        """Read the answer to its end; return the whole text."""
        for _ in self:
            pass
        return self.text

    def __repr__(self) -> str:
        ended = self.finish_reason or "not ended"
        return (
            f"<StoreAnswer from {counted(len(self.passages), 'passage')}, {ended}: {self.text!r}>"
        )

    def _record(self, **seconds: float) -> None:
        self.timings = Timings(**{**vars(self.timings), **seconds})

    def cancel(self) -> None:
        """End the answer within one token, from any thread."""
        self.answer.cancel()

    def close(self) -> None:
        """Stop generating and free what the answer holds."""
        self.answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
