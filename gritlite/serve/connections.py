"""Connections: how long a client may take, and how many there may be.

uvicorn waits for ever for a client that sends its request byte by byte, or does not read its
answer, and takes connections until the process has no file left to open. The module does not
know what is asked.
"""

import logging
from collections.abc import Mapping
from typing import Any, cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gritlite.serve.errors import ApiError, error_response

log = logging.getLogger(__name__)
KEEP_ALIVE = 60  # seconds that a connection may be idle
PATIENCE = 75.0  # seconds for a request's head, for a body's beginning, and without reading
SLOWEST = 500  # bytes of a body in each second after that
_MOST = 1024  # connections
_FILES_KEPT = 32  # that the process may open beside connections
_AHEAD = 1 << 16  # bytes of further requests that are read before the first is answered
_RETRY_SECONDS = 5


class Connection(H11Protocol):
    """One connection, which `judge` ends if its client is too slow.

    Over three quarters of the limit of connections a new one takes the place of the longest
    idle one; if there is none, its requests are answered with 503. At the limit it is closed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._since = self.loop.time()  # the time of the last answer
        self._received = 0  # bytes since then
        self._unsent = 0  # bytes of answers, when they were looked at last
        self._moved = self._since  # when they last became fewer

    def connection_made(self, transport: Any) -> None:
        """Begin, and keep the limit."""
        super().connection_made(transport)
        made = cast("set[Connection]", self.connections)
        open_ones = [each for each in made if not each.transport.is_closing()]
        most = most_connections()
        if len(open_ones) > most * 3 // 4:
            idle = [each for each in open_ones if each.is_idle and each is not self]
            if idle:
                min(idle, key=lambda each: each._since).transport.abort()
            elif len(open_ones) > most:
                transport.abort()
            else:
                self.app = _full

    @property
    def is_idle(self) -> bool:
        """Whether no request is being sent, answered, or still to be sent off."""
        states = {self.conn.their_state, self.conn.our_state}
        unread, unsent = self.conn.trailing_data[0], self.transport.get_write_buffer_size()
        return states == {h11.IDLE} and not unread and not unsent

    def data_received(self, data: bytes) -> None:
        """Take what has come.

        uvicorn stops reading at a second request that comes before the first is answered, and
        so does not see that the client leaves: some is read ahead.
        """
        self._received += len(data)
        super().data_received(data)
        is_ahead = self.conn.their_state is h11.DONE
        if is_ahead and len(self.conn.trailing_data[0]) <= _AHEAD:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._since, self._received = self.loop.time(), 0
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unless an answer has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def judge(self, now: float) -> None:
        """End the connection if its client is too slow at the time `now` of the loop."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._moved = now
        self._unsent = unsent
        if now - self._moved > PATIENCE:
            self.transport.abort()  # to close it would wait until all is sent
        elif now - self._since > self._allowed() and not self.transport.is_closing():
            self.transport.close()

    def _allowed(self) -> float:
        """Seconds from the last answer until the next request must be there."""
        if self.conn.their_state is h11.IDLE:
            return PATIENCE
        if self.conn.their_state is h11.SEND_BODY:
            return PATIENCE + self._received / SLOWEST
        return float("inf")  # it is: it is our turn


def most_connections() -> int:
    """How many connections the limit of open files allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MOST
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if files == resource.RLIM_INFINITY else min(_MOST, max(4, files - _FILES_KEPT))


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    error = ApiError(
        503,
        "too many connections are open: try again later",
        code="too_many_connections",
        retry_after=_RETRY_SECONDS,
    )
    response = error_response(error, scope["path"])
    response.headers["Connection"] = "close"
    await response(scope, receive, send)


def log_failure(_: object, context: Mapping[str, Any]) -> None:
    """Log what failed in the event loop itself, such as to accept a connection."""
    log.error("%s", context["message"], exc_info=context.get("exception"))
