"""When refused requests are told to come back, played through on a clock of its own."""

import heapq
import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from gritlite.serve.service import places
from gritlite.serve.service.places import Pace

COUNT, QUEUE, CLIENTS = 8, 64, 200
RETRIES = 2  # of the official client, unless it is told otherwise


class Burst:
    """200 clients that ask at the same moment a server of so many answers a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers_a_second: float) -> None:
        self.now = 0.0
        monkeypatch.setattr(places, "time", SimpleNamespace(monotonic=lambda: self.now))
        self._pace = Pace(COUNT, QUEUE)
        self._seconds = COUNT / answers_a_second
        self._free, self._waiting = COUNT, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.answered = self.refused = 0

    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def _ask(self, tries: int) -> None:
        if self._free:
            self._free -= 1
            self._later(self._seconds, self._end)
        elif self._waiting < QUEUE:
            self._waiting += 1
        elif tries > RETRIES:
            self.refused += 1
        else:
            seconds = max(1, math.ceil(self._pace.promise(self._waiting)))
            self._later(seconds, lambda: self._ask(tries + 1))

    def _end(self) -> None:
        self.answered += 1
        self._pace.add(self._seconds)
        if self._waiting:
            self._waiting -= 1
            self._later(self._seconds, self._end)
        else:
            self._free += 1

    def run(self) -> None:
        """Let all clients ask, until all have an answer or have given up."""
        for _ in range(CLIENTS):
            self._later(0.0, lambda: self._ask(1))
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()


@pytest.mark.parametrize("answers_a_second", [2, 2.5, 3, 5, 10, 40])
def test_all_of_a_burst_are_answered_within_two_retries(monkeypatch, answers_a_second):
    burst = Burst(monkeypatch, answers_a_second)
    burst.run()
    assert (burst.answered, burst.refused) == (CLIENTS, 0)
    assert burst.now < max(60, 1.2 * CLIENTS / answers_a_second)


def test_a_wait_is_one_that_the_official_client_accepts(monkeypatch):
    burst = Burst(monkeypatch, 0.1)
    burst._pace.add(600)
    assert 0 < burst._pace.promise(QUEUE) <= 60
