"""What the caller of long work wants: to be told how far it is, and to end it.

The module does not know what the work is.
"""

import threading
from typing import Protocol

from gritlite.errors import CancelledError, ClosedError
from gritlite.system.progress import STEPS, ProgressCallback, no_progress, part_of


class Flag(Protocol):
    """What says that work is to end, such as a `threading.Event`."""

    def is_set(self) -> bool:
        """Whether it is to end."""


class AnyFlag:
    """Set as soon as one of several flags is."""

    def __init__(self, *flags: Flag | None) -> None:
        self._flags = [flag for flag in flags if flag is not None]

    def is_set(self) -> bool:
        """See Flag."""
        return any(flag.is_set() for flag in self._flags)


class Watch:
    """Reports the progress of one piece of work, and ends it by raising an error. For one thread.

    `subject` says what the work is. `progress` counts thousandths, each at most once and never
    backwards. `cancel` ends the work with CancelledError, `closing` with ClosedError.
    """

    def __init__(
        self,
        subject: str,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
        closing: threading.Event | None = None,
    ) -> None:
        self.subject = subject
        self.cancel = cancel
        self._closing = closing
        self._progress = progress
        self._done = -1

    def until(self, closing: threading.Event) -> "Watch":
        """Return a watch of the same work that ends it when `closing` is set, too."""
        return Watch(self.subject, self.report, self.cancel, closing)

    def part(self, begin: float, end: float) -> "Watch":
        """Return a watch of the part of this work from the share `begin` to `end`."""
        return Watch(self.subject, part_of(self.report, begin, end), self.cancel)

    def check(self) -> None:
        """Raise CancelledError or ClosedError if the work is to end."""
        if self.cancel is not None and self.cancel.is_set():
            raise CancelledError(f"{self.subject} was cancelled")
        if self._closing is not None and self._closing.is_set():
            raise ClosedError

    def report(self, done: int, total: int) -> None:
        """Report `done` of `total` steps, and raise as `check`: a callback for a step."""
        self.advance(done / max(total, 1))

    def advance(self, share: float) -> None:
        """Report that this share of the work is done, and raise as `check`."""
        self.check()
        done = int(STEPS * min(max(share, 0.0), 1.0))
        if self._done < done < STEPS:  # the end is reported once everything is there
            self._done = done
            self._progress(done, STEPS)

    def finish(self) -> None:
        """Report that all is done."""
        self._progress(STEPS, STEPS)
