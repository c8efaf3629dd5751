"""Which web pages may ask: those of this machine, and those that the settings name (CORS).

A browser sends some requests without asking first and only hides the answer from the page,
so a request from another page is refused, not merely left without CORS headers.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gritlite.serve.errors import ApiError, error_response
from gritlite.serve.settings import Settings, is_loopback

_METHODS = "GET, POST, DELETE, OPTIONS"
_MAX_AGE = "600"  # seconds


class Origins:
    """Answers preflights, refuses foreign pages, and adds CORS headers for the others."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._allowed = {origin.rstrip("/").lower() for origin in settings.cors_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        if not self._is_allowed(origin, headers.get("host", "")):
            error = ApiError(
                403,
                "this page's origin may not use the server: it may be told other origins when it "
                "is started (--cors-origin)",
                code="origin_not_allowed",
            )
            await error_response(error, scope["path"])(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                added["Access-Control-Allow-Origin"] = origin
                added["Access-Control-Expose-Headers"] = "Retry-After"
                added.add_vary_header("Origin")
            await send(message)

        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(headers)(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _is_allowed(self, origin: str, host: str) -> bool:
        if "*" in self._allowed or origin.lower() in self._allowed:
            return True
        try:
            parts = urlsplit(origin)
            name = parts.hostname or ""
        except ValueError:
            return False
        is_plain = origin.lower() == f"{parts.scheme}://{parts.netloc.lower()}"
        if parts.scheme not in ("http", "https") or not is_plain or "@" in parts.netloc:
            return False  # no browser sends more than scheme, host and port
        return is_loopback(name) or parts.netloc.lower() == host.lower()  # our own page


def _preflight(headers: Headers) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": headers.get("access-control-request-headers", ""),
            "Access-Control-Max-Age": _MAX_AGE,
        },
    )
