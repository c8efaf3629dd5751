"""Turns at the context that several decoders share, and one batch for all tokens waited for.

Turns are taken in order of arrival, so the parts of a long prompt alternate with the tokens of
other answers. The thread whose turn it is decodes the tokens of all that wait (a leader), and
the others find theirs done. If an error ends the leader's batch, the others try again.
The module does not know what the tokens belong to.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gritlite.runtime.engine import Decoders, Logits, Step
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.signals import signals_deferred

# a leader waits this share of a batch's time for those that were in the last one: their next
# tokens are asked for as soon as this one's text is
_PATIENCE = 0.25
_INTERVAL = 0.05  # seconds between two looks at Ctrl-C


@dataclass(eq=False)
class Request:
    """A token to evaluate: `choose` takes its logits, float32 [vocabulary], once it is.

    Exceptions of `choose` are raised to the thread that asks, and to no other.
    """

    step: Step
    choose: Callable[[Logits], int]
    done: bool = False
    chosen: int = -1
    error: Exception | None = None

    def finish(self, logits: Logits) -> None:
        """Choose the token that follows."""
        try:
            self.chosen = self.choose(logits)
        except Exception as error:
            self.error = error
        self.done = True


class Together:
    """Takes turns at decoders. Thread-safe."""

    def __init__(self, decoders: Decoders, scheduler: Scheduler) -> None:
        self._decoders = decoders
        self._scheduler = scheduler
        self._changed = threading.Condition()
        self._queue: list[object] = []  # in order of arrival; the first one's turn it is
        self._decoding: list[Request] = []  # the leader's first
        self._expected: set[int] = set()  # members of the last batch that did not ask again yet
        self._seconds = 0.0  # of the last batch

    @contextlib.contextmanager
    def turn(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Hold the context for one call; yields False, without it, if `stopped` meanwhile."""
        ticket = object()
        try:
            with self._changed:
                self._queue.append(ticket)
                self._changed.wait_for(lambda: self._queue[0] is ticket or stopped())
            if stopped():
                yield False
            else:
                with self._scheduler.turn("generate"):
                    yield True
        finally:  # Ctrl-C may come at any place
            self._leave(ticket)

    def decode(self, request: Request, stopped: Callable[[], bool]) -> int | None:
        """Evaluate a token and return the one chosen; None if `stopped` while it waits.

        Ctrl-C gives up a token that waits too, but not one that another thread decodes: that
        thread chooses with what the caller may free once this method ends.
        """
        with signals_deferred() as deferred:
            try:
                return self._decode(request, lambda: stopped() or deferred.interrupted)
            finally:
                self._leave(request)

    def _decode(self, request: Request, stopped: Callable[[], bool]) -> int | None:
        with self._changed:
            self._expected.discard(request.step.member)
            self._queue.append(request)
            self._changed.notify_all()
            while not self._changed.wait_for(lambda: self._is_ready(request, stopped), _INTERVAL):
                pass  # Ctrl-C notifies nobody
            if not request.done:
                if stopped():
                    return None
                self._gather()
        if not request.done:
            self._run()
        if request.error is not None:
            raise request.error
        return request.chosen

    def _is_ready(self, request: Request, stopped: Callable[[], bool]) -> bool:
        """Return whether a request is done, is the first, or may be given up."""
        if request in self._decoding:
            return False
        return request.done or self._queue[0] is request or stopped()

    def _gather(self) -> None:
        """Take the requests of all that wait, and of those that ask soon."""
        self._changed.wait_for(lambda: not self._expected, _PATIENCE * self._seconds)
        self._decoding = [each for each in self._queue if isinstance(each, Request)]

    def _run(self) -> None:
        """Decode the batch that was taken."""
        with self._scheduler.turn("generate"):
            start = time.perf_counter()
            rows = self._decoders.evaluate_together([each.step for each in self._decoding])
            self._seconds = time.perf_counter() - start
            for request, row in zip(self._decoding, rows, strict=True):
                request.finish(row)

    def _leave(self, ticket: object) -> None:
        """Leave the queue, and with a leader all whose tokens are done."""
        with self._changed:
            leaving = [ticket]
            if self._decoding and self._decoding[0] is ticket:
                done = [each for each in self._decoding if each.done]
                self._expected = {each.step.member for each in done}
                self._decoding = []
                leaving += done
            self._queue = [each for each in self._queue if each not in leaving]
            self._changed.notify_all()

    def forget(self, member: int) -> None:
        """Wait for no more tokens of a member whose answer has ended."""
        with self._changed:
            self._expected.discard(member)
            self._changed.notify_all()

    def wake(self) -> None:
        """Make waiting threads look again whether they are stopped."""
        with self._changed:
            self._changed.notify_all()
