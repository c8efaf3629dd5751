"""A server in a thread of the test's process, and clients of the standard library for it."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gritlite import GritLM
from gritlite.serve.server import Running
from gritlite.serve.service.service import Load
from gritlite.serve.settings import Settings


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events, without comments."""
        lines = self.body.decode().split("\n")
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [text if text == "[DONE]" else json.loads(text) for text in data]


class Client:
    """Sends requests to a server, each over a connection of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answered:
        """`body` is JSON unless it is bytes, or an iterable of them, which is sent in chunks."""
        with contextlib.closing(self.connect()) as connection:
            is_json = (
                body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__")
            )
            sent = json.dumps(body).encode() if is_json else body
            connection.request(method, path, sent, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answered(response.status, found, response.read())

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answered:
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answered:
        return self.request("POST", path, body, headers)

    def chat(self, content: str, **fields: Any) -> Answered:
        """A greedy answer to one message."""
        messages = [{"role": "user", "content": content}]
        body = {"messages": messages, "temperature": 0, **fields}
        return self.post("/v1/chat/completions", body)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    @contextlib.contextmanager
    def leaving(self, path: str, body: Any) -> Iterator[socket.socket]:
        """A client that has sent a request and goes away at the end of the block."""
        sent = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent)}\r\n\r\n"
        with socket.create_connection((self.host, self.port), timeout=60) as connection:
            connection.sendall(head.encode() + sent)
            yield connection

    def gauge(self, name: str) -> float:
        """One number of /metrics."""
        lines = self.get("/metrics").body.decode().splitlines()
        return next(
            float(line.split()[1]) for line in lines if line.startswith(f"gritlite_{name} ")
        )

    def until(self, name: str, value: float, seconds: float = 20) -> None:
        """Wait until a number of /metrics has a value."""
        end = time.monotonic() + seconds
        while (found := self.gauge(name)) != value:
            assert time.monotonic() < end, f"{name} is {found}, not {value}"
            time.sleep(0.01)


@contextlib.contextmanager
def serving(model: GritLM | Load, *, wait: bool = True, **settings: Any) -> Iterator[Client]:
    """A server of a model, or of what a function loads. A model given stays open."""
    load = model if callable(model) else lambda: Kept(model)
    running = Running(Settings(**{"name": "tiny", "port": 0, **settings}), load)
    ready = threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            running.run(lambda _: ready.set())
        except BaseException as error:
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        if wait:
            assert ready.wait(60)
        if failures:
            raise failures[0]
        yield Client(running.settings.host, running.port if running.settings.uds is None else 0)
    finally:
        running.stop()
        thread.join(30)
        assert not thread.is_alive()


class Kept:
    """A model that the server's end does not close."""

    def __init__(self, model: GritLM) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def close(self) -> None:
        """The test closes the model."""
