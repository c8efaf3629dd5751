"""The key that requests must carry, if the server has one."""

import hmac
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gritlite.serve.errors import ApiError
from gritlite.serve.settings import Settings

# what tells nothing of the model and costs nothing; the page asks for the key itself
OPEN_PATHS = ("/health", "/", "/favicon.ico")
OPEN_PREFIX = "/page/"


class Keys:
    """Raises ApiError for requests without the key in `Authorization: Bearer` or `x-api-key`."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._digest = None if settings.key is None else _digest(settings.key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        if scope["type"] == "http" and self._digest is not None and not _is_open(scope["path"]):
            self._check(Headers(scope=scope), self._digest)
        await self._app(scope, receive, send)

    @staticmethod
    def _check(headers: Headers, digest: bytes) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        # digests are of one length, so that the time tells nothing of the key's either
        if not hmac.compare_digest(_digest(given), digest):
            message = "the key is missing or wrong: send it as  Authorization: Bearer KEY"
            raise ApiError(401, message, code="invalid_api_key")


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()
