"""Scheduler: divides processor time fairly, and runs waiting queries before bulk work.

An embedding pass takes as long as dozens of generated tokens, so with a plain lock a chat
would get one token per pass. Here the kind of work that has had less time goes first:
generation and embedding each get about half the machine while both want it. An answer asks
for its next token only once it has the last one, so a waiting pass waits a moment longer for
that, or it would follow each token whatever embedding had before. Within embedding, a waiting
query overtakes a bulk job after the pass in progress; after a number of queries in a row a
waiting bulk job gets one pass, so that it never starves.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Literal

from gritlite.errors import UsageError

Work = Literal["generate", "query", "bulk"]
_Share = Literal["generate", "embed"]

_SHARES: dict[Work, _Share] = {"generate": "generate", "query": "embed", "bulk": "embed"}
_MAX_DEBT = 1.0  # seconds
_MAX_OVERTAKES = 16  # queries in a row while a bulk job waits
_NEXT_TOKEN = 0.02  # seconds in which answers usually ask for their next tokens


class Scheduler:
    """A fair lock: the kind of work that has used less time is served first."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._process = os.getpid()
        self._holder: object = None
        self._waiting: dict[Work, int] = dict.fromkeys(_SHARES, 0)
        self._spent: dict[_Share, float] = {"embed": 0.0, "generate": 0.0}
        self._overtakes = 0
        self._generated = -_NEXT_TOKEN  # when the last turn of generation ended

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked from the one that loaded the model."""
        return os.getpid() != self._process

    def check_process(self) -> None:
        """Raise UsageError in a forked process.

        It has a copy of the engine's memory, but not of its threads, and would wait for
        them for ever.
        """
        if self.is_forked:
            raise UsageError(
                f"the model was loaded in process {self._process}, of which this one is a fork: "
                "start processes by 'spawn' instead of 'fork', and load the model in each"
            )

    @contextlib.contextmanager
    def turn(self, work: Work) -> Iterator[None]:
        """Hold the processor for one pass or one token. Raises as `check_process`."""
        self.check_process()
        start, turn = time.perf_counter(), object()
        try:
            self._wait(work, turn)
            start = time.perf_counter()
            yield
        finally:
            self._end(work, turn, start)

    def _wait(self, work: Work, turn: object) -> None:
        with self._condition:
            self._waiting[work] += 1
            try:
                while self._holder is not None or self._must_wait(work):
                    # without a holder, it may be for a token that never comes
                    self._condition.wait(_NEXT_TOKEN if self._holder is None else None)
                self._count_overtakes(work)
                self._holder = turn
            finally:  # Ctrl-C may end the wait; then the others must not wait for us
                self._waiting[work] -= 1
                self._condition.notify_all()

    def _end(self, work: Work, turn: object, start: float) -> None:
        with self._condition:
            if self._holder is turn:  # not if Ctrl-C ended the wait
                now = time.perf_counter()
                self._count(_SHARES[work], now - start)
                self._holder = None
                if work == "generate":
                    self._generated = now
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
        return self._spent[other] < self._spent[share] and self._is_wanted(other)

    def _is_wanted(self, share: _Share) -> bool:
        """Return whether work waits for a share of the time, or soon will."""
        if share == "generate" and time.perf_counter() < self._generated + _NEXT_TOKEN:
            return True
        return any(self._waiting[each] for each in _SHARES if _SHARES[each] == share)


def _other(share: _Share) -> _Share:
    return "generate" if share == "embed" else "embed"
