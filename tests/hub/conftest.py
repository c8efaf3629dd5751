import pytest


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """An empty cache, and a home of its own for what other libraries keep."""
    monkeypatch.setenv("GRITLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "HF_TOKEN", "HF_HOME", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"
