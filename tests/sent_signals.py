"""Signals that arrive in the main thread while it runs or waits, as from a terminal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def press_ctrl_c() -> None:
    """Interrupt the main thread."""
    _send(signal.SIGINT)


def _send(number: int) -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, number)


@contextmanager
def signal_in(seconds: float, number: int = signal.SIGINT) -> Iterator[None]:
    """Send a signal during the block, Ctrl-C by default, and never after it.

    Use it inside `pytest.raises`: on a busy machine the signal may come while the block begins.
    """
    timer = threading.Timer(seconds, _send, (number,))
    try:
        timer.start()
        yield
    finally:
        timer.cancel()
        timer.join()
