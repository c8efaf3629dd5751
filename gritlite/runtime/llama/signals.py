"""Defers signal handlers while C calls back into Python.

A handler that raises, like that of Ctrl-C, would otherwise raise inside the callback, where
ctypes prints the exception and drops it.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# signals whose handlers commonly raise
_INTERRUPTING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Run the handlers of signals that arrive within the block at its end.

    Only Python's main thread runs handlers, so elsewhere there is nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append((number, frame))

    handlers = {
        number: handler for number in _INTERRUPTING if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in reversed(handlers):  # Ctrl-C's last: from then on it may raise again
            signal.signal(number, handlers[number])
        for number, frame in arrived:
            handlers[number](number, frame)
