"""Who uses the processor next: fair shares of time, and a waiting query before bulk work.

An embedding pass lasts as long as dozens of generated tokens. With a plain lock
a chat would get one token per pass; here the kind of work that has had less
time goes first, so generation and embedding each keep about half the machine while both
want it. Of embedding, a query that somebody waits for passes a bulk job after the pass in
progress.
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


class Scheduler:
    """A lock whose waiters are served by the time that their share of the work has had."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._busy = False
        self._waiting: dict[Work, int] = dict.fromkeys(_SHARES, 0)
        self._spent: dict[_Share, float] = {"embed": 0.0, "generate": 0.0}

    @contextlib.contextmanager
    def turn(self, work: Work) -> Iterator[None]:
        """Hold the processor for one pass or one token."""
        with self._condition:
            self._waiting[work] += 1
            try:
                while self._busy or self._must_wait(work):
                    self._condition.wait()
                self._busy = True
            finally:  # Ctrl-C may end the wait, and then the others must not wait for us
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
        # a share that was idle may owe or be owed one turn, not an hour
        self._spent[other] = max(self._spent[other], self._spent[share] - _MAX_DEBT)

    def _must_wait(self, work: Work) -> bool:
        """Whether waiting work of another kind goes first."""
        if work == "bulk" and self._waiting["query"]:
            return True
        share, other = _SHARES[work], _other(_SHARES[work])
        is_wanted = any(self._waiting[each] for each in _SHARES if _SHARES[each] == other)
        return is_wanted and self._spent[other] < self._spent[share]


def _other(share: _Share) -> _Share:
    return "generate" if share == "embed" else "embed"
