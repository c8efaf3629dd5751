"""Vectors of texts in a file: what is added comes back, also after a run that was killed."""

from pathlib import Path

import numpy as np
import pytest

from gritlite import FileError, FormatError
from gritlite.train.vector_file import VectorFile

TEXTS = ["bread", "", "a boat\n", "\ud800"]  # half of a pair comes out of some JSON
VECTORS = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float16).astype(np.float32)


def written(path: Path) -> VectorFile:
    file = VectorFile(path)
    file.append(TEXTS[:3], VECTORS[:3])
    file.append(TEXTS[3:], VECTORS[3:])
    return file


def test_what_is_added_comes_back_in_any_order(tmp_path: Path) -> None:
    for file in (written(tmp_path / "v"), VectorFile(tmp_path / "v")):
        assert all(text in file for text in TEXTS)
        assert "Bread" not in file
        np.testing.assert_array_equal(file.vectors(TEXTS[::-1]), VECTORS[::-1])
        np.testing.assert_array_equal(file.vectors(["bread", "bread"]), VECTORS[[0, 0]])


def test_what_another_run_has_added_is_seen(tmp_path: Path) -> None:
    first, second = VectorFile(tmp_path / "v"), VectorFile(tmp_path / "v")
    first.append(TEXTS[:2], VECTORS[:2])
    assert TEXTS[0] not in second
    second.refresh()
    second.append(TEXTS[1:], VECTORS[1:])  # one of them again
    first.refresh()
    for file in (first, second, VectorFile(tmp_path / "v")):
        np.testing.assert_array_equal(file.vectors(TEXTS), VECTORS)


def test_a_file_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    file = VectorFile(tmp_path / "v")
    assert "bread" not in file
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_half_of_a_record_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "v"
    written(path)
    path.write_bytes(path.read_bytes()[:-cut])
    lost = -(-cut // (16 + 2 * 6))
    file = VectorFile(path)
    assert [text in file for text in TEXTS] == [True] * (4 - lost) + [False] * lost
    file.append(TEXTS[4 - lost :], VECTORS[4 - lost :])
    np.testing.assert_array_equal(VectorFile(path).vectors(TEXTS), VECTORS)


@pytest.mark.parametrize("content", [b"", b"GLVEC", b"GLVEC\0\2\0\6\0\0\0", b"some other file"])
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(FormatError, match="not a file of vectors"):
        VectorFile(tmp_path / "v")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot write"):
        VectorFile(tmp_path / "none" / "v").append(["a"], VECTORS[:1])
