"""Answers that are sent piece by piece, with comments while nothing comes.

An error before the first piece becomes an ordinary error with its status; later it is one more
piece, for the status has been sent. Waiting for longer than the pause sends the status too, so
that proxies and clients do not give up on a long prompt.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gritlite.serve.errors import ApiError, as_api_error
from gritlite.serve.json_response import to_json

log = logging.getLogger(__name__)
SSE = "text/event-stream"
COMMENT = ": waiting\n\n"  # server-sent events: a line that begins with a colon is ignored
DONE = "data: [DONE]\n\n"


def event(data: Any, name: str | None = None) -> str:
    """A server-sent event with JSON (html.spec.whatwg.org/multipage/server-sent-events.html)."""
    return (f"event: {name}\n" if name else "") + f"data: {to_json(data)}\n\n"


class StreamedResponse(Response):
    """Sends `pieces` as they come.

    `failure` words an error that ends them. `pause` seconds without a piece send `comment`, if
    the format has any.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[str, None],
        *,
        failure: Callable[[ApiError], str],
        pause: float,
        media_type: str = SSE,
        comment: str = COMMENT,
    ) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._pieces = pieces
        self._failure = failure
        self._pause = pause
        self._comment = comment

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the status with the first piece, then all others."""
        has_begun = False

        async def send_text(text: str, *, more: bool = True) -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                await send(
                    {
                        "type": "http.response.start",
                        "status": self.status_code,
                        "headers": self.raw_headers,
                    }
                )
            body = text.encode("utf-8", "replace")
            await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            async with contextlib.aclosing(_with_pauses(self._pieces, self._pause)) as pieces:
                async for piece in pieces:
                    await send_text(self._comment if piece is None else piece)
        except Exception as error:
            if not has_begun:
                raise
            await send_text(self._failure(as_api_error(error)))
        await send_text("", more=False)


async def _with_pauses(
    pieces: AsyncGenerator[str, None], pause: float
) -> AsyncGenerator[str | None, None]:
    """The pieces, and None whenever none came for so long. Closes `pieces`."""
    waiting: asyncio.Future[str] | None = None
    try:
        while True:
            waiting = asyncio.ensure_future(anext(pieces))
            while not (await asyncio.wait({waiting}, timeout=pause))[0]:
                yield None
            try:
                piece = waiting.result()
            except StopAsyncIteration:
                return
            yield piece
    finally:
        if waiting is not None and not waiting.done():
            waiting.cancel()
            await asyncio.wait({waiting})
        await pieces.aclose()
