"""Defers signal handlers while C calls back into Python, and lets Ctrl-C end long work in C.

A handler that raises, like that of Ctrl-C, would otherwise raise inside the callback, where
ctypes prints the exception and drops it.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

# signals whose handlers commonly raise
_INTERRUPTING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)


@dataclass
class Deferred:
    """The signals that arrived in a block.

    `interrupted`: Ctrl-C came, and the block will end in KeyboardInterrupt.
    """

    arrived: list[tuple[int, FrameType | None]] = field(default_factory=list)
    interrupted: bool = False


def on_main_thread() -> bool:
    """Whether the handlers of signals run in this thread."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def signals_deferred() -> Iterator[Deferred]:
    """Run the handlers of signals that arrive within the block at its end.

    Only Python's main thread runs handlers, so elsewhere there is nothing to do.
    """
    deferred = Deferred()
    if not on_main_thread():
        yield deferred
        return

    def note(number: int, frame: FrameType | None) -> None:
        deferred.arrived.append((number, frame))
        # a handler of the caller's own may want the work to be finished
        deferred.interrupted |= handlers[number] is signal.default_int_handler

    handlers = {
        number: handler for number in _INTERRUPTING if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, note)
    try:
        yield deferred
    finally:
        for number in reversed(handlers):  # Ctrl-C's last: from then on it may raise again
            signal.signal(number, handlers[number])
        for number, frame in deferred.arrived:
            handlers[number](number, frame)
