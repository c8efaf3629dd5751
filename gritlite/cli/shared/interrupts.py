"""Long jobs that end between two of their steps when they are asked to."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """The first Ctrl-C or termination sets the event; the next has its usual effect."""
    asked = threading.Event()
    usual = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: object) -> None:
        asked.set()
        signal.signal(number, usual[number])

    for number in usual:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
