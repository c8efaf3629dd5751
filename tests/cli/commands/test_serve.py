"""`gritlite serve` as a process: how it starts, what it prints, how it ends."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gritlite.cli.commands.serve import command
from gritlite.runtime.llama import PARALLEL

posix = pytest.mark.skipif(os.name != "posix", reason="signals and Unix sockets")


@contextlib.contextmanager
def serve(model, *options, **popen):
    """A server's process, and what its --ready-json line says."""
    line = [sys.executable, "-m", "gritlite", "serve", model, "--port", "0", "--threads", "1"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        list(map(str, [*line, "--ready-json", *options])), **{**streams, **popen}
    ) as process:
        try:
            told = process.stdout.readline()
            assert told, process.stderr.read().decode()
            yield process, json.loads(told)
        finally:
            process.kill()


def fails(model, *options, **popen):
    line = [sys.executable, "-m", "gritlite", "serve", model, "--port", "0", *options]
    done = subprocess.run(list(map(str, line)), capture_output=True, timeout=60, **popen)
    return done.returncode, done.stderr.decode()


def get(told, path, key=None):
    return ask(told, "GET", path, key or told["key"], None)


def post(told, path, body):
    return ask(told, "POST", path, told["key"], json.dumps({"model": "tiny", **body}))


def ask(told, method, path, key, body):
    host, port = told["url"].removeprefix("http://").rsplit(":", 1)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=30)) as client:
        client.request(method, path, body, headers)
        response = client.getresponse()
        return response.status, json.loads(response.read())


@posix
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_ready_line_and_signals(model, number, status):
    with serve(model) as (process, told):
        assert told["pid"] == process.pid
        assert get(told, "/health")[0] == 200
        assert get(told, "/v1/models")[1]["data"][0]["id"] == "tiny"
        assert get(told, "/v1/models", "wrong")[0] == 401  # a key is made up
        process.send_signal(number)
        assert process.wait(20) == status
        assert process.stdout.read() == b""
        assert b"Traceback" not in process.stderr.read()


@posix
def test_ctrl_c_cancels_answers(model):
    with serve(model) as (process, told):
        host, port = told["url"].removeprefix("http://").rsplit(":", 1)
        client = http.client.HTTPConnection(host, int(port), timeout=30)
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
        headers = {"Authorization": f"Bearer {told['key']}"}
        client.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        client.getresponse()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        client.close()


def test_the_end_of_input_ends_it(model):
    with serve(model, "--end-with-input") as (process, _):
        process.stdin.write(b"ignored\n")
        process.stdin.close()
        assert process.wait(20) == 0


@posix
def test_the_end_of_its_parent_ends_it(model):
    waits = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(waits, stdin=subprocess.PIPE) as parent,
        serve(model, "--parent-pid", parent.pid) as (process, told),
    ):
        assert get(told, "/health")[0] == 200
        parent.kill()  # it stays a zombie until it is waited for
        assert process.wait(20) == 0


def test_a_key_from_a_file_or_the_environment(model, tmp_path):
    (tmp_path / "key").write_text("from a file\n")
    with serve(model, "--key-file", tmp_path / "key") as (_, told):
        assert told["key"] == "from a file"
        assert get(told, "/v1/models")[0] == 200
    environment = {**os.environ, "GRITLITE_KEY": "from the environment"}
    with serve(model, env=environment) as (_, told):
        assert told["key"] == "from the environment"
    (tmp_path / "key").write_text("\n")
    assert fails(model, "--key-file", tmp_path / "key")[0] == 2


@posix
def test_a_unix_socket(model, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with serve(model, "--uds", path) as (process, told):
        assert told["url"] == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        status, told = fails(model, "--uds", path)
        assert status == 2
        assert "another server listens" in told
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--workers", "2"), "copy of the weights"),
        (("--host", "0.0.0.0"), "give a key"),
        (("--host", "nowhere.invalid"), "it comes from --key-file or GRITLITE_KEY"),
        (("--tls-cert", "cert.pem"), "give both"),
        (("--store", "a/n.grit", "--store", "b/n.grit"), "both be called n"),
        (("--store", "missing.grit"), "missing.grit"),
        (("--uds", "/nowhere/socket"), "/nowhere/socket"),
        (("--parent-pid", "99999999"), "no process 99999999"),
    ],
)
def test_mistakes_end_on_one_line(model, options, told):
    status, errors = fails(model, *options)
    assert status == 2
    (line,) = errors.splitlines()
    assert line.startswith("gritlite: error: ")
    assert told in line


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("0.0.0.0", r"http://127\.0\.0\.1:\d+, and at this machine's other addresses; end with"),
        ("127.0.0.1", r"http://127\.0\.0\.1:\d+; end with"),
    ],
)
def test_an_address_is_shown_that_can_be_opened(model, host, shown):
    line = [sys.executable, "-m", "gritlite", "serve", str(model), "--host", host, "--port", "0"]
    environment = {**os.environ, "GRITLITE_KEY": "secret"}
    with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            told = next(line for line in process.stderr if "is served at" in line)
        finally:
            process.kill()
    assert re.search(f"tiny is served at {shown}", told)


def test_a_missing_model(tmp_path):
    status, errors = fails(tmp_path / "none.gguf")
    assert status == 2
    assert "none.gguf" in errors


def test_a_port_that_is_taken(model):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        status, errors = fails(model, "--port", str(other.getsockname()[1]))
    assert status == 2
    assert "cannot listen" in errors


def test_sizes_of_batches_are_the_engines():
    (option,) = [option for option in command.params if option.name == "together"]
    assert list(map(int, option.type.choices)) == list(PARALLEL)


def test_answers_of_several_clients_are_decoded_together(model):
    with serve(model, "--together", 4) as (_, told), ThreadPoolExecutor(4) as clients:
        asked = [{"role": "user", "content": "Once"}]
        body = {"messages": asked, "max_tokens": 20, "temperature": 0}
        found = list(clients.map(lambda _: post(told, "/v1/chat/completions", body), range(8)))
    assert {status for status, _ in found} == {200}
    assert {answer["usage"]["completion_tokens"] for _, answer in found} == {20}
