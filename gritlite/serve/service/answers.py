"""Answers, each generated in a thread of its own and read as an async iterator of its pieces."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from gritlite.errors import CancelledError, GritLiteError
from gritlite.runtime.log_probabilities import TokenLogProbability
from gritlite.runtime.pieces import FinishReason
from gritlite.runtime.schema import cancelled_by
from gritlite.serve.service.places import Places


class AnswerStream(Protocol):
    """What generates a text: an `Answer`, or a `StoreAnswer`, which has its sources too."""

    @property
    def text(self) -> str:
        """The text so far."""

    @property
    def prompt_tokens(self) -> int:
        """The number of tokens in the prompt."""

    @property
    def cached_tokens(self) -> int:
        """How many of them needed no evaluation."""

    @property
    def generated(self) -> list[int]:
        """The ids of the answer's tokens."""

    @property
    def logprobs(self) -> Sequence[TokenLogProbability]:
        """Their log-probabilities, if the options asked for them."""

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended."""

    def __iter__(self) -> Iterator[str]: ...
    def __next__(self) -> str: ...
    def cancel(self) -> None:
        """End it within one token, or one part of the prompt, from any thread."""

    def close(self) -> None:
        """Free what it holds."""


Begin = Callable[[], AnswerStream]


@dataclass
class Moments:
    """When an answer began, had its first text, and ended; in nanoseconds of a monotonic clock.

    They are taken where it is generated, so a client that reads slowly changes nothing. 0: not
    yet, or for `first`, no text.
    """

    began: int = 0
    first: int = 0
    ended: int = 0


class RunningAnswer:
    """An answer that is being generated: iterate over its pieces, then look how it ended.

    `answer` is what `begin` returned; `moments` are final once the iteration has ended.
    """

    def __init__(self, begin: Begin) -> None:
        self.moments = Moments()
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
        self._begun: asyncio.Future[AnswerStream] = self._loop.create_future()
        self._cancelled = threading.Event()
        self._answer: AnswerStream | None = None

    @property
    def answer(self) -> AnswerStream:
        """The answer as the model has it."""
        assert self._answer is not None, "the answer has not begun"
        return self._answer

    async def begun(self) -> None:
        """Wait until the prompt is known to be right. Raises what `begin` raised."""
        await self._begun

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        piece = await self._pieces.get()
        if isinstance(piece, BaseException):
            raise piece
        if piece is None:
            raise StopAsyncIteration
        return piece

    def cancel(self) -> None:
        """End the answer: within one token, one part of the prompt, or steps of its schema."""
        self._cancelled.set()
        if self._answer is not None:
            self._answer.cancel()

    def end(self, error: GritLiteError) -> None:
        """End the answer, and tell its reader at once why; for the thread of the event loop."""
        self.cancel()
        self._ended(error)

    def work(self) -> None:
        """Generate the answer; for a thread of its own."""
        end: BaseException | None = None
        try:
            if self._cancelled.is_set():  # while it waited for the thread
                raise CancelledError("the server stops")
            with cancelled_by(self._cancelled):
                answer = self._answer = self._begin()
            try:
                self._post(self._has_begun, answer)
                self._generate(answer)
            finally:
                answer.close()
        except BaseException as error:
            end = error
        self._post(self._ended, end)

    def _generate(self, answer: AnswerStream) -> None:
        if self._cancelled.is_set():  # before there was an answer to cancel
            answer.cancel()
        self.moments.began = time.monotonic_ns()
        for piece in answer:
            self.moments.first = self.moments.first or time.monotonic_ns()
            self._post(self._pieces.put_nowait, piece)
        self.moments.ended = time.monotonic_ns()
        if answer.finish_reason == "cancelled":
            raise CancelledError("the server stops")

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(call, *arguments)

    def _has_begun(self, answer: AnswerStream) -> None:
        if not self._begun.done():
            self._begun.set_result(answer)

    def _ended(self, error: BaseException | None) -> None:
        if error is not None and not self._begun.done():
            self._begun.set_exception(error)
            self._begun.exception()  # its reader may be gone
        self._pieces.put_nowait(error)


class Answers:
    """Generates `parallel` answers at once; `queue` more requests wait."""

    def __init__(self, parallel: int, queue: int) -> None:
        self.places = Places(parallel, queue)
        self._pool = ThreadPoolExecutor(parallel, "answer")
        self._running: set[RunningAnswer] = set()

    @contextlib.asynccontextmanager
    async def run(self, begin: Begin) -> AsyncIterator[RunningAnswer]:
        """Wait for a place, then run the answer that `begin` returns, both in a thread.

        The block begins once `begin` has returned, before the prompt is evaluated, and its end
        cancels the answer. The place is free again when the thread has ended. Raises BusyError, and
        what `begin` raises.
        """
        await self.places.take()
        started, running = time.monotonic(), RunningAnswer(begin)
        loop = asyncio.get_running_loop()

        def free() -> None:
            self._running.discard(running)
            self.places.give_back(time.monotonic() - started)

        def ended(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(free)

        self._running.add(running)
        self._pool.submit(running.work).add_done_callback(ended)
        try:
            await running.begun()
            yield running
        finally:
            running.cancel()

    def stop(self) -> None:
        """End all answers, and those that wait to begin."""
        self.places.stop()
        for running in self._running:
            running.end(CancelledError("the server stops"))

    @property
    def is_idle(self) -> bool:
        """Whether no answer is being generated."""
        return not self._running
