"""Several answers to one request, generated at once: OpenAI's choices."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from gritlite.runtime.model import GritLM
from gritlite.serve.errors import invalid
from gritlite.serve.service.answers import AnswerStream, RunningAnswer
from gritlite.serve.service.service import Service

MOST_CHOICES = 128  # as OpenAI's


def checked_count(n: int | None, prompts: int = 1) -> int:
    """How many answers to each of the prompts. Raises ApiError for none or too many."""
    count = 1 if n is None else n
    if count < 1:
        raise invalid(f"n is {count}: expected 1 or more", "n")
    if count * prompts > MOST_CHOICES:
        problem = f"{count * prompts} answers are asked for: expected at most {MOST_CHOICES}"
        raise invalid(problem, "n")
    return count


@contextlib.asynccontextmanager
async def run_all(
    service: Service, begins: Sequence[Callable[[GritLM], AnswerStream]]
) -> AsyncIterator[list[RunningAnswer]]:
    """Run answers; the block begins once all have begun, and its end cancels them.

    Each waits for its place only when the one before has got one: of a request with many
    answers one stands in the queue. An answer that has ended gives its place back, whether its
    pieces were read or not, so they cannot wait for each other. Raises as `Service.answer`.
    """
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(service.answer(begin)) for begin in begins]


async def merged(
    answers: Sequence[RunningAnswer],
) -> AsyncGenerator[tuple[int, str | None], None]:
    """The pieces of all answers as they come, with the answer's number; None at its end."""
    waiting = {_next_piece(answer): number for number, answer in enumerate(answers)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                piece = task.result()
                number = waiting.pop(task)
                if piece is not None:
                    waiting[_next_piece(answers[number])] = number
                yield number, piece
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _next_piece(answer: RunningAnswer) -> "asyncio.Task[str | None]":
    async def read() -> str | None:
        return await anext(answer, None)

    return asyncio.create_task(read())
