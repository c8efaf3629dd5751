"""Scheduler: divides processor time fairly, and runs waiting queries before bulk work.

An embedding pass takes as long as dozens of generated tokens, so with a plain lock a chat
would get one token per pass. Here the kind of work that has had less time goes first:
generation and embedding each get about half the machine while both want it. Within
embedding, a waiting query overtakes a bulk job after the pass in progress; after a number
of queries in a row a waiting bulk job gets one pass, so that it never starves.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Literal

Work = Literal["generate", "query", "bulk"]
_Share = Literal["generate", "embed"]

_SHARES: dict[Work, _Share] = {"generate": "generate", "query": "embed", "bulk": "embed"}
_MAX_DEBT = 1.0  # seconds
_MAX_OVERTAKES = 16  # queries in a row while a bulk job waits


class Scheduler:
    """A fair lock: the kind of work that has used less time is served first."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._busy = False
        self._waiting: dict[Work, int] = dict.fromkeys(_SHARES, 0)
        self._spent: dict[_Share, float] = {"embed": 0.0, "generate": 0.0}
        self._overtakes = 0

    @contextlib.contextmanager
    def turn(self, work: Work) -> Iterator[None]:
        """Hold the processor for one pass or one token."""
        with self._condition:
            self._waiting[work] += 1
            try:
                while self._busy or self._must_wait(work):
                    self._condition.wait()
                self._busy = True
                self._count_overtakes(work)
            finally:  # Ctrl-C may end the wait; then the others must not wait for us
                self._waiting[work] -= 1
                self._condition.notify_all()
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._condition:
                self._busy = False
                self._count(_SHARES[work], time.perf_counter() - start)
                self._condition.notify_all()

    def _count(self, share: _Share, seconds: float) -> None:
        other = _other(share)
        self._spent[share] += seconds
        # the credit of an idle share is limited
        self._spent[other] = max(self._spent[other], self._spent[share] - _MAX_DEBT)

    def _count_overtakes(self, work: Work) -> None:
        if work == "bulk" or not self._waiting["bulk"]:
            self._overtakes = 0
        elif work == "query":
            self._overtakes += 1

    def _must_wait(self, work: Work) -> bool:
        """Return whether waiting work of another kind goes first."""
        first: Work = "bulk" if self._overtakes >= _MAX_OVERTAKES else "query"
        if work in ("query", "bulk") and work != first and self._waiting[first]:
            return True
        share, other = _SHARES[work], _other(_SHARES[work])
        is_wanted = any(self._waiting[each] for each in _SHARES if _SHARES[each] == other)
        return is_wanted and self._spent[other] < self._spent[share]


def _other(share: _Share) -> _Share:
    return "generate" if share == "embed" else "embed"
