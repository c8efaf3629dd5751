"""Who may ask, and how much."""

import pytest

from gritlite import UsageError
from gritlite.serve.middleware.host import without_port
from gritlite.serve.settings import Settings
from tests.serve.running import serving

KEY = "a long secret"


def test_a_bind_elsewhere_needs_a_key():
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(UsageError, match="give a key"):
            Settings("tiny", host=host)
        assert Settings("tiny", host=host, key=KEY).key == KEY
    for host in ("127.0.0.1", "::1", "localhost"):
        Settings("tiny", host=host)


def test_unsafe_settings_are_refused():
    for wrong in (
        {"cors_origins": ("*",)},
        {"allowed_hosts": ("*",)},
        {"tls_cert": "cert.pem"},
        {"key": "two\nlines"},
    ):
        with pytest.raises(UsageError):
            Settings("tiny", **wrong)


def test_the_key_is_not_shown():
    assert KEY not in repr(Settings("tiny", key=KEY))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("localhost:80", "localhost"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("", ""),
        ("[::1]x", ""),
        ("evil.com:80@localhost", ""),
        ("localhost:x", ""),
    ],
)
def test_the_name_in_host(host, name):
    assert without_port(host) == name


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:1"])
def test_names_of_this_machine(client, host):
    assert client.get("/health", {"Host": host}).status == 200


@pytest.mark.parametrize("host", ["evil.com", "", "localhost.evil.com", "127.0.0.1.nip.io"])
def test_other_names_are_refused(client, host):
    answered = client.get("/health", {"Host": host})
    assert answered.status == 403
    assert answered.error["code"] == "host_not_allowed"


ORIGIN = {"Origin": "http://localhost:3000"}
FOREIGN = {"Origin": "https://evil.com"}


def test_pages_of_this_machine_may_ask(client):
    answered = client.get("/v1/models", ORIGIN)
    assert answered.status == 200
    assert answered.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    assert answered.headers["vary"] == "Origin"
    failed = client.post("/v1/embeddings", {}, ORIGIN)
    assert failed.status == 400
    assert failed.headers["access-control-allow-origin"] == ORIGIN["Origin"]


def test_a_preflight(client):
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answered = client.request("OPTIONS", "/v1/embeddings", None, {**ORIGIN, **asked})
    assert answered.status == 204
    assert answered.headers["access-control-allow-headers"] == "authorization,content-type"
    refused = client.request("OPTIONS", "/v1/embeddings", None, {**FOREIGN, **asked})
    assert refused.status == 403
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.com", "null", "http://localhost.evil.com", "file://", "http://["),
        *("http://evil@localhost", "http://localhost#evil", "http://localhost/evil"),
    ],
)
def test_other_pages_may_not(client, origin):
    answered = client.post("/v1/embeddings", {"input": "x"}, {"Origin": origin})
    assert answered.status == 403
    assert "access-control-allow-origin" not in answered.headers


def test_settings_allow_more(served_model):
    allowed = {"cors_origins": ("app://obsidian.md",), "allowed_hosts": ("box.lan",)}
    with serving(served_model, **allowed) as client:
        assert client.get("/health", {"Origin": "app://obsidian.md"}).status == 200
        assert client.get("/health", {"Origin": "app://other"}).status == 403
        assert client.get("/health", {"Host": "box.lan:8080"}).status == 200
        # our own page, by another of our names
        own = {"Host": "box.lan:8080", "Origin": "http://box.lan:8080"}
        assert client.get("/health", own).status == 200


def test_the_key(served_model):
    with serving(served_model, key=KEY) as client:
        assert client.get("/health").status == 200
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"x-api-key": KEY + "x"}):
            for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing"):
                answered = client.get(path, wrong)
                assert answered.status == 401
                assert answered.error["code"] == "invalid_api_key"
                assert answered.error["type"] == "authentication_error"
        for right in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
            assert client.get("/v1/models", right).status == 200
        seen = client.get("/v1/models", ORIGIN)
        assert seen.status == 401
        assert "access-control-allow-origin" in seen.headers


def test_large_bodies(served_model):
    with serving(served_model, max_body=1000) as client:
        assert client.post("/v1/embeddings", {"input": "x" * 500}).status == 200
        for body in (b'"' + b"x" * 1000, iter([b'"', b"x" * 600, b"x" * 600])):
            answered = client.post("/v1/embeddings", body)
            assert answered.status == 413
            assert answered.error["code"] == "body_too_large"
        assert client.post("/v1/embeddings", iter([b'{"input":', b'"x"}'])).status == 200


def test_a_body_is_json_whatever_its_label_says(client):
    for label in ("application/x-www-form-urlencoded", "text/plain", "nonsense"):
        answered = client.post("/v1/embeddings", {"input": "x"}, {"Content-Type": label})
        assert answered.status == 200
