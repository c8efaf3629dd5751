"""A thread in which one native library computes, and nothing else.

A library may leave its thread's AMX tiles set up in its own way: ONNX Runtime and torch do, and
llama.cpp sets them up once a thread and never again. In a thread that ran both, llama.cpp's
quantized products would be wrong, in silence. The module does not know what is computed.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self, TypeVar

from gritlite.errors import CancelledError, ClosedError, OutOfMemoryError
from gritlite.runtime.signals import signals_deferred
from gritlite.system.watch import Flag

T = TypeVar("T")

_INTERVAL = 0.05  # seconds between two looks at Ctrl-C and `cancel`


class ComputeThread:
    """Runs calls one after another. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, name)
        self._ident: int | None = None

    def call(
        self,
        work: Callable[[], T],
        stop: Callable[[], object] = lambda: None,
        cancel: Flag | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> T:
        """Return the result of `work`, computed in the thread, or here within a call.

        Once Ctrl-C is pressed or `cancel` is set, `stop` is called until the work ends.
        `meanwhile` is called here about twenty times a second; what it raises stops the work
        too, and is raised when that has ended. Raises ClosedError, OutOfMemoryError,
        KeyboardInterrupt, what the work raises, and CancelledError instead of that if `cancel`
        is set.
        """
        if self._ident == threading.get_ident():  # a callback of its work
            return work()

        def run() -> T:
            self._ident = threading.get_ident()
            return work()

        failure: BaseException | None = None
        with signals_deferred() as deferred:
            running = self._submit(run)
            while wait([running], _INTERVAL).not_done:
                failure = failure or _error_of(meanwhile)
                if failure or deferred.interrupted or (cancel is not None and cancel.is_set()):
                    stop()
        if failure is not None:
            raise failure
        if cancel is not None and cancel.is_set() and running.exception() is not None:
            raise CancelledError("the work was cancelled")
        return running.result()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        try:
            return self._pool.submit(work)
        except RuntimeError as error:
            if "shutdown" in str(error):  # of the pool or of the interpreter
                raise ClosedError from None
            raise OutOfMemoryError(f"{error}: close other programs") from error

    def close(self) -> None:
        """End the thread, after the calls in progress."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _error_of(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except BaseException as error:
        return error
    return None
