"""Waits for a pass or another call of a runtime in another thread, and ends it early.

A runtime computes outside Python, where neither Ctrl-C nor an event is seen. The module does
not know runtimes.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from gritlite.errors import CancelledError

T = TypeVar("T")

_INTERVAL = 0.05  # seconds between two looks at `cancel`


def awaited(running: Future[T], stop: Callable[[], None], cancel: threading.Event | None) -> T:
    """Return the result of a pass; call `stop`, until it ends, once `cancel` is set.

    An exception in this thread meanwhile, such as that of Ctrl-C, stops the pass too. Raises
    what the pass raises, and CancelledError instead if `cancel` is set.
    """
    try:
        while wait([running], _INTERVAL).not_done:
            if cancel is not None and cancel.is_set():
                stop()
    finally:
        while not running.done():
            stop()
            wait([running], _INTERVAL)
    if cancel is not None and cancel.is_set() and running.exception() is not None:
        raise CancelledError("the work was cancelled")
    return running.result()
