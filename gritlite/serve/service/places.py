"""Places for work that runs at once, and a bounded queue before them, in order of arrival."""

import asyncio
import math
import time
from collections import deque

from gritlite.errors import CancelledError
from gritlite.serve.errors import ApiError

_LONGEST_RETRY = 60  # seconds: openai's clients take a longer wait for a mistake


class BusyError(ApiError):
    """The queue is full. After `seconds` there should be room."""

    def __init__(self, waiting: int, seconds: float) -> None:
        super().__init__(
            429,
            f"{waiting} requests wait already: try again later",
            code="rate_limit_exceeded",
            retry_after=max(1, min(math.ceil(seconds), _LONGEST_RETRY)),
        )


class Places:
    """`count` places; `queue` more may wait for one. For the thread of one event loop."""

    def __init__(self, count: int, queue: int) -> None:
        self._count = count
        self._free = count
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pace = Pace(count, queue)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._count - self._free

    async def take(self) -> None:
        """Wait for a place, behind those that came before.

        Raises BusyError if too many wait, and CancelledError after `stop`.
        """
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= self._queue:
            raise BusyError(self.waiting, self._pace.promise(self.waiting))
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            elif turn.exception() is None:  # the place came at the same moment
                self._hand_on()
            raise

    def give_back(self, seconds: float) -> None:
        """Free a place that was taken for so long; the one who waits longest gets it."""
        self._pace.add(seconds)
        self._hand_on()

    def _hand_on(self) -> None:
        for turn in self._waiting:
            if not turn.done():  # its task was cancelled, and has not run since
                self._waiting.remove(turn)
                turn.set_result(None)
                return
        self._free += 1

    def stop(self) -> None:
        """Let all who wait end with CancelledError."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(CancelledError("the server stops"))


class Pace:
    """When there will be room, by the time that work took which ended last.

    `count` pieces are done at once, and `queue` more may wait.
    """

    _WEIGHT = 0.2  # of the last one
    _SLACK = 1.5  # a crowd comes back this much slower than it is served, or it fills the queue

    def __init__(self, count: int, queue: int) -> None:
        self._seconds = 0.25  # from one's end to the next one's: a guess, until one has ended
        self._count = count
        # waits are told in whole seconds: at each, no more come back than half of the queue holds
        self._least = 1.0 / (count + queue // 2)
        self._promised = 0.0

    def add(self, seconds: float) -> None:
        """Count one that took so long."""
        self._seconds += self._WEIGHT * (seconds / self._count - self._seconds)

    def promise(self, waiting: int) -> float:
        """Seconds until one more should find room behind those who wait.

        Each is promised a later moment than the one before, so that a crowd does not come back
        at once and find the queue full again.
        """
        now, step = time.monotonic(), max(self._SLACK * self._seconds, self._least)
        latest = now + _LONGEST_RETRY
        soonest = now + waiting * self._seconds / 2  # by then half of the queue is free
        self._promised = min(max(self._promised + step, soonest), latest)
        return self._promised - now
