"""`Host` must name this machine.

By DNS rebinding a web page makes its own name point to this machine, and is then the same
origin to a browser. Its requests still carry its name in `Host`. An address of digits cannot
be rebound, so that at which the request came in is always right.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gritlite.serve.errors import ApiError, error_response
from gritlite.serve.settings import Settings

_LOCAL = ("localhost", "127.0.0.1", "::1")


class Hosts:
    """Refuses requests whose `Host` is empty or names another machine."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._allowed = {*_LOCAL, settings.host.lower(), *map(str.lower, settings.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request."""
        if scope["type"] == "http" and not self._is_allowed(scope):
            error = ApiError(
                403,
                "the header Host does not name this server: it may be told other names of this "
                "machine when it is started (--allowed-host)",
                code="host_not_allowed",
            )
            await error_response(error, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        given = Headers(scope=scope).getlist("host")
        if len(given) != 1:
            return False
        host = without_port(given[0]).lower()
        address = (scope.get("server") or ("",))[0]
        return bool(host) and ("*" in self._allowed or host in self._allowed or host == address)


def without_port(host: str) -> str:
    """The name or address in `name:port` or `[address]:port`; empty if it is neither."""
    if host.startswith("["):
        address, bracket, rest = host[1:].partition("]")
        return address if bracket and (not rest or rest.startswith(":")) else ""
    name, _, port = host.partition(":")
    return name if not port or (port.isascii() and port.isdecimal()) else ""
