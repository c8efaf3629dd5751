"""Bodies: how large they may be, and that they are JSON whatever their label says.

Ollama's examples send JSON with curl's own label of a form. Pages of other origins, for which
the label would matter, are refused before (`origin`).

Python reads JSON without letting other threads on, and a list of millions of numbers takes it
seconds, in which no other client is answered. So values are bounded too, and counted as a body
comes.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gritlite.serve.errors import ApiError
from gritlite.serve.settings import Settings

MOST_VALUES = 1 << 17
_BODIES = 8  # of the largest size that all requests together may hold
_SMALL = 1 << 16  # bytes: a body that is never refused for the others' sake
_RETRY_SECONDS = 5


class Bodies:
    """Raises ApiError for a body over the limits, also if its length was not said before."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._limit = settings.max_body
        self._held = 0  # bytes of the bodies of all requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._check_headers(Headers(scope=scope))
        received, counter = 0, ValueCounter()

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            part = message.get("body", b"")
            received += len(part)
            self._held += len(part)
            counter.add(part)
            self._check(received, counter.values)
            return message

        scope["headers"] = [*scope["headers"]]
        MutableHeaders(scope=scope)["content-type"] = "application/json"
        try:
            await self._app(scope, counted, send)
        finally:
            self._held -= received

    def _check_headers(self, headers: Headers) -> None:
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit:
            raise self._too_large()
        encoding = headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            message = f"the body's Content-Encoding is {encoding}: send JSON as it is"
            raise ApiError(415, message, code="unsupported_encoding")

    def _check(self, received: int, values: int) -> None:
        if received > self._limit:
            raise self._too_large()
        if values > MOST_VALUES:
            message = f"the body has more than {MOST_VALUES:,} values: send less at once"
            raise ApiError(413, message, code="body_too_large")
        if received > _SMALL and self._held > _BODIES * self._limit:
            message = "other requests have large bodies too: try again later"
            raise ApiError(503, message, code="server_busy", retry_after=_RETRY_SECONDS)

    def _too_large(self) -> ApiError:
        message = f"the body is larger than {self._limit:,} bytes: send less at once"
        return ApiError(413, message, code="body_too_large")


class ValueCounter:
    """Counts the values of JSON that comes in parts: its commas and opening brackets."""

    def __init__(self) -> None:
        self.values = 0
        self._in_text = False
        self._rest = b""  # a backslash whose letter is in the next part

    def add(self, part: bytes) -> None:
        """Count the values of the next part."""
        part = self._rest + part
        backslashes = len(part) - len(part.rstrip(b"\\"))
        self._rest = part[len(part) - backslashes % 2 :]
        whole = part[: len(part) - backslashes % 2]
        # without escapes the parts between quotation marks are outside of texts and in them in turn
        pieces = whole.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(pieces[self._in_text :: 2])
        self._in_text ^= len(pieces) % 2 == 0
        self.values += sum(map(outside.count, (b",", b"[", b"{")))
