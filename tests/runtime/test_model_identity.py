"""A model's fingerprint: computed once, kept by the file's stamp, and never of other bytes."""

import os

import pytest

from gritlite.errors import FileError
from gritlite.modelfile.header import read_header
from gritlite.runtime import model_identity
from gritlite.runtime.model_identity import ModelIdentity
from tests.sample_gguf import write_model


@pytest.fixture
def path(tmp_path, cache_folder):
    """A model's file, whose times count as old enough."""
    return write_model(tmp_path / "model.gguf")


@pytest.fixture
def reads(monkeypatch):
    """The files that were read whole."""
    read = []
    real = model_identity.fingerprint

    def noted(path, progress):
        read.append(path)
        return real(path, progress)

    monkeypatch.setattr(model_identity, "fingerprint", noted)
    monkeypatch.setattr(model_identity, "_RACE_NS", -(10**18))  # tests cannot wait
    return read


def identity(path):
    return ModelIdentity(read_header(path))


def test_a_file_is_read_once(path, reads):
    first = identity(path)
    assert reads == []
    assert first.fingerprint() == first.fingerprint() == identity(path).fingerprint()
    assert reads == [path]


def test_an_edit_that_keeps_size_and_time_is_noticed(path, reads):
    before = path.stat()
    first = identity(path).fingerprint()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert identity(path).fingerprint() != first
    assert len(reads) == 2


def test_another_file_in_its_place_is_noticed(path, tmp_path, reads):
    first = identity(path).fingerprint()
    other = tmp_path / "other.gguf"
    other.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert identity(path).fingerprint() != first


def test_a_fresh_file_is_read_again(path, reads, monkeypatch):
    monkeypatch.setattr(model_identity, "_RACE_NS", 60 * 10**9)
    assert identity(path).fingerprint() == identity(path).fingerprint()
    assert len(reads) == 2


@pytest.mark.parametrize("kept", [b"", b"{", b"[]", b"null", b'{"stamp": {}}', b"\xff"])
def test_a_damaged_cache_is_written_again(path, reads, cache_folder, kept):
    first = identity(path).fingerprint()
    (file,) = (cache_folder / "fingerprints").iterdir()
    right = file.read_bytes()
    file.write_bytes(kept)
    assert identity(path).fingerprint() == first
    assert file.read_bytes() == right


def test_without_a_cache_it_is_computed(path, reads, cache_folder):
    cache_folder.write_text("not a folder")
    assert identity(path).fingerprint() == identity(path).fingerprint()
    assert len(reads) == 2


def test_a_file_that_changed_after_it_was_loaded(path):
    loaded = identity(path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FileError, match="was changed or moved after it was loaded"):
        loaded.fingerprint()
    with pytest.raises(FileError, match="was changed or moved after it was loaded"):
        loaded.sampled()
