"""The socket that the server listens on."""

import contextlib
import http.client
import os
import socket
import stat
import sys
import threading
from urllib.parse import urlsplit

import pytest

from gritlite import FileError, UsageError
from gritlite.serve.settings import Settings
from gritlite.serve.sockets import bind, place_of, release, url_of
from tests.serve.running import serving

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no Unix sockets")


@pytest.fixture
def settings(tmp_path):
    return Settings("tiny", uds=tmp_path / "socket")


def answers(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def test_a_killed_servers_socket_is_taken_over(settings):
    bind(settings).close()  # its file stays
    assert settings.uds.exists()
    bound = bind(settings)
    assert answers(settings.uds)
    release(bound, settings, place_of(settings.uds))
    assert not settings.uds.exists()


def test_a_socket_with_a_server_is_not_taken_over(settings):
    first = bind(settings)
    with pytest.raises(FileError, match="another server listens"):
        bind(settings)
    assert answers(settings.uds)
    release(first, settings, place_of(settings.uds))


def test_a_socket_is_only_its_owners_whatever_the_mask(settings, monkeypatch):
    before = os.umask(0)
    try:
        with monkeypatch.context() as patched:  # what other threads write meanwhile keeps its mode
            patched.delattr(os, "umask")
            bound = bind(settings)
    finally:
        os.umask(before)
    assert stat.S_IMODE(settings.uds.stat().st_mode) == 0o600
    assert answers(settings.uds)
    release(bound, settings, place_of(settings.uds))


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        *(("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")),
        *(("::", "[::1]"), ("::1", "[::1]")),
    ],
)
def test_the_address_is_one_that_can_be_opened(host, shown):
    settings = Settings("tiny", host=host, port=0, key="secret")
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with contextlib.closing(bind(settings)) as bound:
        url = urlsplit(url_of(bound, settings))
        assert url.netloc == f"{shown}:{bound.getsockname()[1]}"
        socket.create_connection((url.hostname, url.port), timeout=10).close()


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as tried:
        tried.bind(("::1", 0))
        return True
    return False


def test_what_is_no_socket_stays(settings):
    settings.uds.write_text("a letter")
    with pytest.raises(FileError, match="not a socket"):
        bind(settings)
    assert settings.uds.read_text() == "a letter"


def test_the_socket_of_a_successor_stays(settings):
    first = bind(settings)
    place = place_of(settings.uds)
    settings.uds.rename(settings.uds.with_name("moved"))
    second = bind(settings)
    release(first, settings, place)
    assert answers(settings.uds)
    release(second, settings, place_of(settings.uds))


def test_of_several_that_start_at_once_one_listens(settings):
    bind(settings).close()
    start = threading.Barrier(8)
    bound, refused = [], []

    def begin():
        start.wait()
        try:
            bound.append(bind(settings))
        except FileError as error:
            refused.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(bound), len(refused)) == (1, 7)
    assert answers(settings.uds)
    bound[0].close()


@pytest.mark.parametrize("name", ["x" * 200, "no folder/socket"])
def test_a_path_that_cannot_be_made(tmp_path, name):
    with pytest.raises(UsageError, match="cannot make the socket"):
        bind(Settings("tiny", uds=tmp_path / name))


def test_a_port_in_use():
    with bind(Settings("tiny", port=0)) as first:
        taken = first.getsockname()[1]
        with pytest.raises(UsageError, match="choose another port"):
            bind(Settings("tiny", port=taken))


def test_ipv6(served_model):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(served_model, host="::1") as client:
        assert client.get("/health").status == 200
        assert client.get("/health", {"Host": f"[::1]:{client.port}"}).status == 200


def test_a_unix_socket_answers_and_is_only_its_owners(served_model, tmp_path):
    path = tmp_path / "socket"
    with serving(served_model, uds=path, wait=False) as client:
        del client
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status in (200, 503)
        assert path.stat().st_mode & 0o077 == 0
    assert not path.exists()
