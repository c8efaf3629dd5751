"""Taking turns on one processor, in fair shares of time.

An embedding pass lasts as long as dozens of generated tokens. With a plain lock
a chat would get one token per pass; here the kind of work that has had less
time goes first, so both keep about half the machine while both want it.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Literal

Kind = Literal["embed", "generate"]


class Turns:
    """A lock whose waiters are served by the time their kind of work has had."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._busy = False
        self._waiting: dict[Kind, int] = {"embed": 0, "generate": 0}
        self._spent: dict[Kind, float] = {"embed": 0.0, "generate": 0.0}

    @contextlib.contextmanager
    def turn(self, kind: Kind) -> Iterator[None]:
        """Hold the processor for one pass or one token."""
        other: Kind = "generate" if kind == "embed" else "embed"
        with self._condition:
            self._waiting[kind] += 1
            try:
                while self._busy or self._is_behind(other, kind):
                    self._condition.wait()
                self._busy = True
            finally:  # Ctrl-C may end the wait, and then the others must not wait for us
                self._waiting[kind] -= 1
                self._condition.notify_all()
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._condition:
                self._busy = False
                self._spent[kind] += time.perf_counter() - start
                # an idle kind may owe or be owed one turn, not an hour
                gap = self._spent[kind] - self._spent[other]
                if gap > _MAX_DEBT:
                    self._spent[other] = self._spent[kind] - _MAX_DEBT
                self._condition.notify_all()

    def _is_behind(self, kind: Kind, other: Kind) -> bool:
        """Whether work of a kind is waiting that has had less time than the other."""
        return self._waiting[kind] > 0 and self._spent[kind] < self._spent[other]


_MAX_DEBT = 1.0  # seconds
