"""Answers that tasks of an event loop read. The module does not know models or messages."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Self, TypeVar

from gritlite.runtime.any_model import AnyAnswer
from gritlite.runtime.pieces import FinishReason
from gritlite.runtime.workers import Reins, Workers
from gritlite.system.progress import ProgressCallback

T = TypeVar("T")


class AsyncAnswer(AsyncIterator[str]):
    """An answer to await, for its whole text, or to iterate over, for its pieces.

    It begins when it is first awaited or read, and each piece is generated when it is asked
    for. Cancelling the task that waits for it ends it, within one token or one operation of the
    prompt's evaluation. `answer` is the `Answer`, with its tokens and log-probabilities, once it
    has begun.
    """

    def __init__(
        self, workers: Workers, begin: Callable[[Reins], AnyAnswer], progress: ProgressCallback
    ) -> None:
        self.answer: AnyAnswer | None = None
        self._workers, self._begin, self._progress = workers, begin, progress
        self._cancelled = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "" if self.answer is None else self.answer.text

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None before."""
        return None if self.answer is None else self.answer.finish_reason

    def __await__(self) -> Generator[object, None, str]:
        return self._in_thread(_whole_text).__await__()

    async def __anext__(self) -> str:
        piece = await self._in_thread(_next_piece)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def _in_thread(self, step: Callable[[AnyAnswer], T]) -> T:
        try:
            return await self._workers.run(partial(self._do, step), progress=self._progress)
        except asyncio.CancelledError:
            self.cancel()
            if self.answer is not None:  # its work may have just ended, or not begun
                asyncio.get_running_loop().run_in_executor(None, self.answer.close)
            raise

    def _do(self, step: Callable[[AnyAnswer], T], reins: Reins) -> T:
        if self.answer is None:
            self.answer = self._begin(reins)
        answer = self.answer
        reins.stop = answer.cancel
        if self._cancelled or reins.cancel.is_set():  # before there was an answer to cancel
            answer.cancel()
        try:
            return step(answer)
        finally:
            if reins.cancel.is_set():  # nobody reads it any more
                answer.close()

    def cancel(self) -> None:
        """End the answer; the text so far stays. From any thread."""
        self._cancelled = True
        if self.answer is not None:
            self.answer.cancel()

    async def aclose(self) -> None:
        """End the answer and free what it holds."""
        self.cancel()
        if self.answer is not None:
            await asyncio.to_thread(self.answer.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _next_piece(answer: AnyAnswer) -> str | None:
    return next(answer, None)


def _whole_text(answer: AnyAnswer) -> str:
    for _ in answer:
        pass
    return answer.text
