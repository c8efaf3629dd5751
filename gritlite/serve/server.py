"""Running the application: uvicorn, its socket, and its end.

Ctrl-C, SIGTERM and SIGHUP cancel what is being answered, free the model and end the process; a
second Ctrl-C does not wait for that. What is ignored when the server starts stays so (nohup).
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import cast

import uvicorn

from gritlite.serve.app import application
from gritlite.serve.connections import KEEP_ALIVE, Connection, log_failure
from gritlite.serve.service.service import Load, Service
from gritlite.serve.settings import Settings
from gritlite.serve.sockets import BACKLOG, bind, place_of, release, url_of
from gritlite.serve.tls import check_certificate
from gritlite.system.watchers import when_input_ends, when_process_ends

_GRACE = 5  # seconds for answers to be told that the server stops
_LAST_RESORT = 15.0  # seconds after which a process that was told to stop is ended
_ACCEPTED_AT_ONCE = 4  # connections, before the first of them can be refused
_LOOK = 0.1  # seconds after which a second Ctrl-C is seen
_TICKS = 10  # of uvicorn's main loop in a second
_FAILED = 1
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def run(
    settings: Settings,
    load: Load,
    *,
    ready: Callable[[str], None],
    parent_pid: int | None = None,
    ends_with_input: bool = False,
) -> None:
    """Serve until a signal, or until the parent or standard input ends.

    `load` loads the model, in a thread; `ready` is then called with the server's URL. Raises
    what either raised, UsageError and FileError for a socket that cannot be made, and
    KeyboardInterrupt after Ctrl-C. Ends the process if work in C does not end.
    """
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    running = Running(settings, load)

    def end() -> None:
        running.stop()
        threading.Event().wait(_LAST_RESORT)
        os._exit(_FAILED)

    if parent_pid is not None:
        when_process_ends(parent_pid, end)
    if ends_with_input:
        when_input_ends(end)
    running.run(ready)
    if not running.has_ended:
        os._exit(128 + signal.SIGINT if running.interrupted else 0)
    if running.interrupted:
        raise KeyboardInterrupt


class Running:
    """A server and its socket, which is bound when this is made.

    After `run`, `interrupted` says whether Ctrl-C ended it, and `has_ended` whether all work did.
    Raises UsageError and FileError for a socket that cannot be made, and for a wrong certificate.
    """

    def __init__(self, settings: Settings, load: Load) -> None:
        self.settings = settings
        if settings.tls_cert is not None and settings.tls_key is not None:
            check_certificate(settings.tls_cert, settings.tls_key)
        self._socket = bind(settings)
        self._place = place_of(settings.uds)
        self._service = Service(settings, load)
        self._server = _Server(_config(self._service), self._service)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the server."""
        return self._server.interrupted

    @property
    def has_ended(self) -> bool:
        """Whether all threads of the service have ended."""
        return self._server.has_ended

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve until `stop` or a signal. Raises what loading the model or `ready` raised."""
        url = url_of(self._socket, self.settings)
        self._server.ready = lambda: ready(url)
        try:
            self._server.run(sockets=[self._socket])
        finally:
            release(self._socket, self.settings, self._place)
        if self._server.failure is not None:
            raise self._server.failure

    def stop(self) -> None:
        """End the server, from any thread."""
        self._server.should_exit = True


def _config(service: Service) -> uvicorn.Config:
    settings = service.settings
    return uvicorn.Config(
        application(service),
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        timeout_keep_alive=KEEP_ALIVE,
        backlog=_ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=_GRACE,
    )


class _Server(uvicorn.Server):
    """uvicorn's server for one service. It ends by itself if the model cannot be loaded."""

    ready: Callable[[], None]

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.interrupted = False
        self.has_ended = False
        self.failure: BaseException | None = None
        self._service = service
        self._announcing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell when the model is ready."""
        asyncio.get_running_loop().set_exception_handler(log_failure)
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)
        self._announcing = asyncio.create_task(self._announce())

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections each second, and say whether to end."""
        if counter % _TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                cast(Connection, connection).judge(now)
        return await super().on_tick(counter)

    async def _announce(self) -> None:
        await self._service.loaded.wait()
        self.failure = self._service.failure
        if self.failure is None:
            try:
                self.ready()
            except Exception as error:  # nobody would be told where the server is
                self.failure = error
        if self.failure is not None:
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cancel all work, so that no connection is waited for."""
        if self._announcing is not None:
            self._announcing.cancel()
        stopping = asyncio.create_task(self._service.stop())
        while not stopping.done() and not self.force_exit:
            await asyncio.wait({stopping}, timeout=_LOOK)
        self.has_ended = stopping.done() and stopping.result()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server; they are not raised again when it has ended."""
        if threading.current_thread() is not threading.main_thread():  # which gets no signals
            yield
            return
        heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End after a signal."""
        if sig == signal.SIGINT:
            self.force_exit = self.interrupted
            self.interrupted = True
        self.should_exit = True
