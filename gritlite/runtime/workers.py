"""Work in threads, awaited by tasks of one event loop; a task that is cancelled ends its work.

The module does not know what the work is.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from gritlite.errors import CancelledError, ClosedError
from gritlite.system.progress import ProgressCallback, no_progress

T = TypeVar("T")

_THREADS = 16  # most of them wait for their turn at the model


class Reins:
    """What work in a thread is led by: it ends soon after `cancel` is set, and `report`s.

    `report` calls `progress` in the event loop; an error that it raises ends the work. `stop` is
    called, if the work sets it, when `cancel` is set.
    """

    def __init__(self, progress: ProgressCallback) -> None:
        self.cancel = threading.Event()
        self.error: BaseException | None = None
        self.stop: Callable[[], object] = lambda: None
        self._progress = progress
        self._loop = asyncio.get_running_loop()

    def report(self, done: int, total: int) -> None:
        """Report work that is done, from the work's thread: a ProgressCallback."""
        if self._progress is not no_progress:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._call, done, total)

    def _call(self, done: int, total: int) -> None:
        if self.error is None and not self.cancel.is_set():
            try:
                self._progress(done, total)
            except BaseException as error:
                self.error = error
                self.end()

    def end(self) -> None:
        """End the work soon."""
        self.cancel.set()
        self.stop()


class Workers:
    """Threads for the tasks of one event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "gritlite")

    async def run(
        self,
        work: Callable[[Reins], T],
        *,
        progress: ProgressCallback = no_progress,
        left: Callable[[T], object] = lambda _: None,
    ) -> T:
        """Return the result of `work`, which its reins end when the task is cancelled.

        The task does not wait for that end; a result that comes all the same is given to
        `left`, in the thread. Raises ClosedError after `close`, what `progress` raises, and what
        the work raises.
        """
        reins = Reins(progress)
        try:
            future = self._pool.submit(work, reins)
        except RuntimeError as error:  # of the pool or of the interpreter: it is shut down
            raise ClosedError from error
        try:
            result = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            reins.end()
            future.add_done_callback(partial(_leave, left))
            raise
        except CancelledError:
            if reins.error is None:
                raise
        if reins.error is not None:
            raise reins.error
        return result

    def close(self) -> None:
        """End the threads, after the work in progress."""
        self._pool.shutdown()


def _leave(left: Callable[[T], object], future: "Future[T]") -> None:
    if not future.cancelled() and future.exception() is None:
        left(future.result())
