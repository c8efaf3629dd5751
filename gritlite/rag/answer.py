"""An answer from a store: its pieces, the passages that it is from, and where the time went."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from gritlite.rag.layouts import Layout
from gritlite.rag.search import Passage
from gritlite.runtime.answer import Answer, FinishReason


@dataclass(frozen=True)
class Timings:
    """Seconds since the question came, each with all before it.

    `found` when the passages were there, `prepared` when their states were,
    `first_token` and `ended` None until then.
    """

    found: float
    prepared: float
    first_token: float | None = None
    ended: float | None = None


class StoreAnswer(Iterator[str]):
    """An answer in the making: iterate over its pieces, as those of `Answer`.

    `passages` are what it is from, `states_loaded` and `states_computed` count
    where theirs came from, and `answer` is the model's own, whose `text`,
    `generated`, `finish_reason`, `cancelled` and `dropped` are this one's too.
    """

    def __init__(
        self,
        answer: Answer,
        passages: list[Passage],
        layout: Layout,
        *,
        asked: float,
        timings: Timings,
        states_loaded: int,
        states_computed: int,
    ) -> None:
        self.answer = answer
        self.passages = passages
        self.layout = layout
        self.timings = timings
        self.states_loaded = states_loaded
        self.states_computed = states_computed
        self._asked = asked

    @property
    def text(self) -> str:
        """What has been said so far."""
        return self.answer.text

    @property
    def generated(self) -> list[int]:
        """The answer's token ids."""
        return self.answer.generated

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None until then."""
        return self.answer.finish_reason

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self.answer.cancelled

    @property
    def dropped(self) -> int:
        """How many messages made room for it."""
        return self.answer.dropped

    def __next__(self) -> str:
        try:
            piece = next(self.answer)
        except StopIteration:
            if self.timings.ended is None:
                self._note(ended=time.perf_counter() - self._asked)
            raise
        if self.timings.first_token is None:
            self._note(first_token=time.perf_counter() - self._asked)
        return piece

    def read(self) -> str:
        """Read it to its end; returns all of its text."""
        for _ in self:
            pass
        return self.text

    def _note(self, **seconds: float) -> None:
        self.timings = Timings(**{**vars(self.timings), **seconds})

    def cancel(self) -> None:
        """End the answer within one token, from any thread."""
        self.answer.cancel()

    def close(self) -> None:
        """Give the answer up."""
        self.answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
