"""Fingerprints are equal for copies and different for any other bytes."""

import random
from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.modelfile import fingerprint as module
from gritlite.modelfile.fingerprint import fingerprint, is_sampled, sampled_fingerprint
from gritlite.modelfile.header import read_header
from tests.sample_gguf import write_model


def test_copies_agree(tmp_path: Path) -> None:
    first = write_model(tmp_path / "first.gguf")
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(first.read_bytes())
    assert fingerprint(copy) == fingerprint(first)
    assert sampled_fingerprint(read_header(copy)) == sampled_fingerprint(read_header(first))
    assert not is_sampled(fingerprint(first))
    assert is_sampled(sampled_fingerprint(read_header(first)))


def test_every_byte_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 4096)
    path = write_model(tmp_path / "model.gguf")
    whole = path.read_bytes()
    seen = {fingerprint(path)}
    places = [0, 4095, 4096, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 40)]
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        seen.add(fingerprint(path))
    for other in (whole[:-1], whole + b"\0", whole[4096:8192] + whole[:4096] + whole[8192:]):
        path.write_bytes(other)
        seen.add(fingerprint(path))
    assert len(seen) == len(set(places)) + 4


def test_its_value_stays(tmp_path: Path) -> None:
    """Stores hold it, so it must not change between versions."""
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 100_000)
    assert fingerprint(path) == (
        "all-629a44cb0f0adb3885a9321d894753d85b24a70fbeceb2d69e990fe7c4e3fed3"
    )


def test_progress_counts_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 4096)
    path = tmp_path / "bytes"
    path.write_bytes(b"x" * 10_000)
    told: list[tuple[int, int]] = []
    fingerprint(path, lambda done, total: told.append((done, total)))
    assert told == [(4096, 10_000), (8192, 10_000), (10_000, 10_000)]


def test_the_sample_of_earlier_versions(tmp_path: Path) -> None:
    """It notices the header and the middle of every tensor."""
    path = write_model(tmp_path / "model.gguf")
    file = read_header(path)
    whole = path.read_bytes()
    seen = {sampled_fingerprint(file)}
    middles = [tensor.offset + tensor.size // 2 for tensor in file.tensors]
    name = whole.index(b"tiny")
    for place in (name, *middles):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        seen.add(sampled_fingerprint(file))
    assert len(seen) == len(file.tensors) + 2


def test_a_file_that_went_away(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    file = read_header(path)
    path.unlink()
    with pytest.raises(FileError, match="cannot read"):
        fingerprint(path)
    with pytest.raises(FileError, match="cannot read"):
        sampled_fingerprint(file)


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"x" * 10)

    def grow(_done: int, _total: int) -> None:
        path.write_bytes(b"x" * 11)

    with pytest.raises(FileError, match="changed while it was read"):
        fingerprint(path, grow)
