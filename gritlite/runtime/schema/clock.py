"""The time that the grammar of one schema may take to make.

Each part of a schema is bounded, but not all of them together: a schema of a client must not
take an answer's place for minutes, nor go on when the client has left. Long loops call `tick`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gritlite.errors import CancelledError, UsageError
from gritlite.system.watch import Flag

SECONDS = 5.0  # of the thread's processor time
_STEPS = 64  # short steps between two looks at the clock, which is a system call


class _Clock(threading.local):
    ends = float("inf")
    steps = 0
    cancel: Flag | None = None


_clock = _Clock()


@contextmanager
def limited() -> Iterator[None]:
    """Bound the time of the block in this thread, from its beginning."""
    before = _clock.ends
    _clock.ends = time.thread_time() + SECONDS
    try:
        yield
    finally:
        _clock.ends = before


@contextmanager
def cancelled_by(cancel: Flag) -> Iterator[None]:
    """Let a flag end all grammars that are made in the block, in this thread."""
    _clock.cancel = cancel
    try:
        yield
    finally:
        _clock.cancel = None


def tick() -> None:
    """Count a short step.

    Raises UsageError when the time of `limited` is over, and CancelledError soon after the flag of
    `cancelled_by` is set.
    """
    _clock.steps += 1
    if _clock.steps % _STEPS:
        return
    if _clock.cancel is not None and _clock.cancel.is_set():
        raise CancelledError("making a grammar of the JSON schema was cancelled")
    if time.thread_time() > _clock.ends:
        raise UsageError(
            f"the JSON schema takes more than {SECONDS:g} seconds to become a grammar: make it "
            "simpler"
        )
