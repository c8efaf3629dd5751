"""A client that goes away ends its request: the request's task is cancelled.

So whatever the request was doing, waiting in a queue, reading a prompt, or generating, ends
by `asyncio.CancelledError` where it awaits, and its `finally` blocks free what it holds. No
route needs to look whether its client is still there.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Departures:
    """Cancels the task of a request whose client has gone away before its answer ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return
        client = _Client(receive, send, task)
        try:
            await self._app(scope, client.receive, client.send)
        except asyncio.CancelledError:
            if not client.left:
                raise
            task.uncancel()
        finally:
            client.forget()


class _Client:
    """The other end of a request, watched from the end of its body on."""

    def __init__(self, receive: Receive, send: Send, task: "asyncio.Task[object]") -> None:
        self.left = False
        self._receive = receive
        self._send = send
        self._task = task
        self._watcher: asyncio.Task[Message] | None = None
        self._answered = False

    async def receive(self) -> Message:
        if self._watcher is not None:
            return await asyncio.shield(self._watcher)
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            self._watcher = asyncio.create_task(self._watch())
        return message

    async def _watch(self) -> Message:
        message = await self._receive()
        if not self._answered:
            self.left = True
            self._task.cancel()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._answered = True
        await self._send(message)

    def forget(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
