"""A model's work without blocking an event loop, ended as soon as its task is cancelled."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from gritlite.runtime.any_model import AnyAnswer

_Result = TypeVar("_Result")


async def awaited(work: Callable[[threading.Event], _Result]) -> _Result:
    """Return what `work` returns; the event it is given is set when nobody waits any more."""
    cancel = threading.Event()
    try:
        return await asyncio.to_thread(work, cancel)
    finally:
        cancel.set()


async def pieces(answer: AnyAnswer) -> AsyncGenerator[str]:
    """Yield the pieces of an answer; a reader that leaves ends it within one token."""
    try:
        while (piece := await asyncio.to_thread(next, answer, None)) is not None:
            yield piece
    finally:
        answer.cancel()
        await asyncio.to_thread(answer.close)
