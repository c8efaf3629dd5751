"""Clients that are slow, do not read, break the protocol, or are too many."""

import contextlib
import json
import socket
import threading
import time

import pytest

from gritlite.serve import connections, server
from tests.serve.running import serving
from tests.serve.test_leaving import CHAT, SlowAnswer, SlowAnswers, body

HEAD = b"Host: localhost\r\n"
STALLS = {
    "nothing": b"",
    "a head": b"GET /health HTTP/1.1\r\nHost: loc",
    "a body": b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    "a chunk": b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n40\r\n{",
    "more of a refused body": b"POST /none HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 1000000\r\n\r\n{",
}


def connect(client, *, buffer=None):
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(30)
    connection.connect((client.host, client.port))
    return connection


def rest(connection):
    """What comes until the server closes; a reset is an end too."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 1.0)


@pytest.mark.parametrize("stall", STALLS)
def test_who_does_not_send_on_is_not_waited_for(impatient, served_model, stall):
    with serving(served_model) as client, connect(client) as connection:
        connection.sendall(STALLS[stall])
        rest(connection)  # ends, for the server closes


def test_dripping_bytes_does_not_help(impatient, served_model, monkeypatch):
    monkeypatch.setattr(connections, "SLOWEST", 1000)
    with serving(served_model) as client, connect(client) as connection:
        connection.sendall(STALLS["a body"])
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 30:
                connection.sendall(b" ")
                time.sleep(0.02)
        assert time.monotonic() - began < 30


def test_a_slow_body_that_goes_on_is_read(impatient, served_model, monkeypatch):
    monkeypatch.setattr(connections, "SLOWEST", 1)
    sent = json.dumps({"input": "x"}).encode()
    with serving(served_model) as client, connect(client) as connection:
        head = b"POST /v1/embeddings HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(sent))
        for number in range(len(sent)):
            connection.sendall(sent[number : number + 1])
            time.sleep(0.15)
        assert rest(connection).startswith(b"HTTP/1.1 200")


def test_an_answer_may_take_longer(impatient, served_model):
    slow = SlowAnswers(served_model)
    with (
        serving(slow, parallel=1, keep_alive=100) as client,
        client.leaving(CHAT, body(stream=True)) as connection,
    ):
        client.until("answers_running", 1)
        time.sleep(3)
        slow.go_on.release()
        received = b""
        while b"piece " not in received:
            received += connection.recv(65536)
            assert received


class Talkative(SlowAnswers):
    """Its answers say 20 MB as fast as they can: more than any system keeps for a connection."""

    def chat(self, messages, **options):
        self.answers.append(Speech(self))
        return self.answers[-1]


class Speech(SlowAnswer):
    left = 4000

    def __next__(self):
        self.left -= 1
        if not self.left:
            self.finish_reason = "length"
            raise StopIteration
        return "word " * 1000


def test_who_does_not_read_keeps_neither_place_nor_connection(impatient, served_model, monkeypatch):
    lost = threading.Event()

    class Watched(connections.Connection):
        def connection_lost(self, exc):
            super().connection_lost(exc)
            if self.scope["path"] == CHAT:
                lost.set()

    monkeypatch.setattr(server, "Connection", Watched)
    model = Talkative(served_model)
    with serving(model, parallel=1) as client, connect(client, buffer=4096) as connection:
        head = b"POST %b HTTP/1.1\r\n" % CHAT.encode() + HEAD
        messages = [{"role": "user", "content": "x"}]
        sent = json.dumps({"messages": messages, "stream": True}).encode()
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(sent) + sent)
        while not model.answers:
            time.sleep(0.01)
        client.until("answers_running", 0)  # though nobody reads
        assert lost.wait(30)


def test_a_client_that_has_sent_its_next_request_is_seen_to_leave(served_model):
    slow = SlowAnswers(served_model)
    with serving(slow, parallel=1) as client:
        with client.leaving(CHAT, body()) as connection:
            client.until("answers_running", 1)
            connection.sendall(b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n")
            time.sleep(0.1)
        client.until("answers_running", 0)


def test_requests_behind_each_other(client):
    request = b"GET /health HTTP/1.1\r\n" + HEAD
    with connect(client) as connection:
        connection.sendall(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
        assert rest(connection).count(b"HTTP/1.1 200") == 2


def test_http_1_0(client):
    sent = json.dumps({**body(stream=True), "max_tokens": 2}).encode()
    with connect(client) as connection:
        head = b"POST %b HTTP/1.0\r\n" % CHAT.encode() + HEAD
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(sent) + sent)
        received = rest(connection)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"data: [DONE]\n\n")  # not in chunks


def test_expect_100_continue(client):
    sent = json.dumps({"input": "x"}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\n" + HEAD
    with connect(client) as connection:
        connection.sendall(head + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(sent))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(sent)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    with connect(client) as connection:
        connection.sendall(head + b"Content-Length: 999999999\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01",  # TLS
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
    ],
)
def test_what_is_not_http(client, sent):
    with connect(client) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        assert rest(connection).startswith((b"HTTP/1.1 400", b""))
    assert client.get("/health").status == 200


def test_what_is_not_http_after_an_answer(client, caplog):
    with connect(client) as connection:
        head = b"POST /none HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(1000).startswith(b"HTTP/1.1 404")
        connection.sendall(b"zz\r\nabc")
        rest(connection)
    # uvicorn's own protocol fails
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def test_idle_connections_make_room(served_model, monkeypatch):
    monkeypatch.setattr(connections, "most_connections", lambda: 20)
    with serving(served_model) as client, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(client)) for _ in range(60)]
        assert client.get("/health").status == 200
        assert rest(idle[0]) == b""  # the oldest was closed
        idle[-1].sendall(b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert idle[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_busy_connections_do_not(served_model, monkeypatch):
    monkeypatch.setattr(connections, "most_connections", lambda: 20)
    with serving(served_model) as client:
        with contextlib.ExitStack() as stack:
            for _ in range(16):
                stack.enter_context(connect(client)).sendall(STALLS["a body"])
            time.sleep(0.5)
            answered = client.get("/health")
            assert answered.status == 503
            assert answered.error["code"] == "too_many_connections"
            assert int(answered.headers["retry-after"]) >= 1
        time.sleep(0.5)
        assert client.get("/health").status == 200


def test_the_limit_leaves_files_to_the_process(monkeypatch):
    resource = pytest.importorskip("resource")
    for files, most in ((64, 32), (1024, 992), (1 << 20, 1024), (20, 4)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert connections.most_connections() == most
