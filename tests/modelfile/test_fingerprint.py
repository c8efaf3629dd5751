"""Fingerprints are equal for copies and different for other models."""

from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.modelfile.fingerprint import fingerprint
from gritlite.modelfile.header import read_header
from tests.sample_gguf import write_model


def test_copies_agree(tmp_path: Path) -> None:
    first = write_model(tmp_path / "first.gguf")
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(first.read_bytes())
    assert fingerprint(read_header(copy)) == fingerprint(read_header(first))


def test_every_tensor_and_the_header_count(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    file = read_header(path)
    whole = path.read_bytes()
    seen = {fingerprint(file)}
    middles = [tensor.offset + tensor.size // 2 for tensor in file.tensors]
    name = whole.index(b"tiny")
    for place in (name, *middles):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        seen.add(fingerprint(file))
    assert len(seen) == len(file.tensors) + 2


def test_a_file_that_went_away(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    file = read_header(path)
    path.unlink()
    with pytest.raises(FileError, match="cannot read"):
        fingerprint(file)
