"""Exceptions that no route's own handler saw become answers."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gritlite.serve.errors import error_response

log = logging.getLogger(__name__)


class Failures:
    """Answers a request with the error object of what was raised, unless its answer has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http":
                raise
            if has_begun:  # FastAPI raises again what its own handler has answered
                log.debug("after the answer began: %s", error)
                return
            await error_response(error, scope["path"])(scope, receive, send)
