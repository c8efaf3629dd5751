"""The thread in which a runtime computes, and its errors as gritlite's.

The module does not know what a runtime computes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gritlite.errors import GritLiteError, LibraryError, OutOfMemoryError
from gritlite.runtime.compute_thread import ComputeThread
from gritlite.system.watch import Flag

T = TypeVar("T")


class RuntimeThread:
    """Runs the calls of one session. `name`, `errors` and `advice` are those of `translated`."""

    def __init__(self, name: str, errors: type[Exception], advice: str = "") -> None:
        self._name, self._errors, self._advice = name, errors, advice
        self._thread = ComputeThread(name)

    def call(
        self,
        work: Callable[[], T],
        stop: Callable[[], object] = lambda: None,
        cancel: Flag | None = None,
    ) -> T:
        """Return the result of work in the thread; see `ComputeThread.call`.

        Raises ClosedError, CancelledError, and the errors of `translated`.
        """
        with translated(self._name, self._errors, self._advice):
            return self._thread.call(work, stop, cancel)

    def close(self) -> None:
        """End the thread, after the call in progress."""
        self._thread.close()


@contextmanager
def translated(name: str, errors: type[Exception], advice: str = "") -> Iterator[None]:
    """Raise OutOfMemoryError or LibraryError for what the runtime `name` raises.

    `errors` is the base of the runtime's own exceptions, and `advice` ends a message about memory.
    """
    try:
        yield
    except GritLiteError:
        raise
    except errors as error:
        text = str(error).strip()
        if "alloc" in text.lower():
            raise OutOfMemoryError(f"{name} has too little memory ({text}){advice}") from error
        raise LibraryError(f"{name} failed: {text}") from error
