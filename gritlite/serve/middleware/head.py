"""HEAD wherever there is GET.

Ollama's clients ask for HEAD / to see whether it runs, and FastAPI, unlike Starlette, leaves
HEAD out. The ASGI server sends no body in answer to HEAD, whatever the application gives it.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class Heads:
    """Answers HEAD as GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server's own keeps HEAD
        await self._app(scope, receive, send)
