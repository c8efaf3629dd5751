"""The page's files as the server sends them; tests/clients/page uses it in a browser."""

import re

import pytest

from gritlite.serve.page import HEADERS
from tests.serve.running import serving


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/page/style.css", "text/css"),
        ("/page/page.js", "text/javascript"),
        ("/page/icon.svg", "image/svg+xml"),
        ("/favicon.ico", "image/svg+xml"),
    ],
)
def test_files_have_their_types_and_are_guarded(client, path, kind):
    answered = client.get(path)
    assert answered.status == 200
    assert answered.headers["content-type"].startswith(kind)
    assert answered.headers["x-content-type-options"] == "nosniff"
    policy = answered.headers["content-security-policy"]
    assert policy == HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "name", ["__init__.py", "other.js", "%2e%2e%2fapp.py", "..%2f..%2fversion.py", "", "a/b"]
)
def test_nothing_else_can_be_read(client, name):
    assert client.get(f"/page/{name}").status == 404


def test_the_page_asks_no_other_address_and_has_no_inline_script(client):
    html = client.get("/").body.decode()
    assert not re.search(r"<script(?![^>]*\ssrc=)", html)
    assert not re.search(r"\s(?:on\w+|style)=", html)
    for script in re.findall(r'(?:src|href)="([^"]*)"', html):
        assert client.get(script).status == 200
    for name in ("api", "chat", "elements", "facts", "page", "search"):
        code = client.get(f"/page/{name}.js").body.decode()
        assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|eval\(", code)


def test_the_page_needs_no_key_but_its_facts_do(served_model):
    with serving(served_model, key="sesame") as client:
        assert client.get("/").status == client.get("/page/page.js").status == 200
        assert client.get("/info").status == 401


def test_the_facts(client, served_model):
    facts = client.get("/info").json
    assert facts["name"] == "tiny"
    assert facts["dimension"] == served_model.dimension
    assert facts["context_length"] == served_model.context_length
    assert facts["file_bytes"] == served_model.path.stat().st_size
    assert facts["generates"] is True
    assert facts["stores"] == []
    assert facts["resident_bytes"] > 2**20
    assert str(served_model.path.parent) not in client.get("/info").body.decode()
