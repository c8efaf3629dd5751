"""Handlers of Ctrl-C and SIGTERM for work that should end cleanly."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gritlite.cli.shared.answers import AnswerStream


@contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """Set the event at the first Ctrl-C or SIGTERM; the second has its usual effect."""
    stopping = threading.Event()
    usual = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _frame: object) -> None:
        stopping.set()
        signal.signal(number, usual[number])

    for number in usual:
        signal.signal(number, stop)
    try:
        yield stopping
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


@contextmanager
def cancel_on_interrupt(answer: "AnswerStream") -> Iterator[None]:
    """Make Ctrl-C cancel the answer instead of ending the program."""
    before = signal.signal(signal.SIGINT, lambda *_: answer.cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
