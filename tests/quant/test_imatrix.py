"""Importance matrix files: ours have llama.cpp's format, and llama.cpp's can be read."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from gritlite.errors import FileError, FormatError, OutputExistsError
from gritlite.quant.imatrix import Activations, Imatrix, read_imatrix, write_imatrix

RANDOM = np.random.default_rng(0)
DENSE = Activations(RANDOM.random((1, 64), np.float32) * 900, np.array([1024], np.float32))
EXPERTS = Activations(RANDOM.random((4, 32), np.float32), np.array([7, 0, 1, 90], np.float32))
MATRIX = Imatrix({"b.weight": EXPERTS, "a.weight": DENSE}, ("mine.txt", "ünï.txt"), 2, 512)


def equal(one: Activations, other: Activations) -> bool:
    return np.array_equal(one.sums, other.sums) and np.array_equal(one.counts, other.counts)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_imatrix(MATRIX, tmp_path / "m.gguf")
    found = read_imatrix(tmp_path / "m.gguf")
    assert (found.datasets, found.chunks, found.chunk_size) == (MATRIX.datasets, 2, 512)
    assert found.tensors.keys() == MATRIX.tensors.keys()
    assert all(equal(found.tensors[name], MATRIX.tensors[name]) for name in found.tensors)


def test_the_file_is_as_llama_cpp_lays_it_out(tmp_path: Path) -> None:
    """Read with gguf: the names, shapes, types and keys of IMatrixCollector::save_imatrix."""
    write_imatrix(MATRIX, tmp_path / "m.gguf")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    keys = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert {name: field.contents() for name, field in keys.items()} == {
        "general.type": "imatrix",
        "imatrix.datasets": ["mine.txt", "ünï.txt"],
        "imatrix.chunk_count": 2,
        "imatrix.chunk_size": 512,
    }
    assert {t.name: (t.shape.tolist(), t.tensor_type.name) for t in reader.tensors} == {
        "a.weight.in_sum2": ([64, 1], "F32"),
        "a.weight.counts": ([1, 1], "F32"),
        "b.weight.in_sum2": ([32, 4], "F32"),
        "b.weight.counts": ([1, 4], "F32"),
    }
    assert np.array_equal(reader.tensors[2].data, EXPERTS.sums)


def test_importance_is_the_mean_square_and_one_for_what_was_never_used() -> None:
    assert np.array_equal(DENSE.importance, DENSE.sums / np.float32(1024))
    assert np.array_equal(EXPERTS.importance[1], np.ones(32))
    assert np.array_equal(EXPERTS.importance[3], EXPERTS.sums[3] / np.float32(90))


def old_form() -> bytes:
    """Encode as IMatrixCollector::save_imatrix_legacy does."""
    data = struct.pack("<i", 2)
    for name in (b"a.weight", b"b.weight"):
        data += struct.pack("<i", len(name)) + name
        data += struct.pack("<ii", 5, 64) + DENSE.sums.tobytes()
    return data + struct.pack("<ii", 7, 8) + b"mine.txt"


def test_the_older_form(tmp_path: Path) -> None:
    (tmp_path / "m.dat").write_bytes(old_form())
    found = read_imatrix(tmp_path / "m.dat")
    assert list(found.tensors) == ["a.weight", "b.weight"]
    assert (found.datasets, found.chunks) == (("mine.txt",), 7)
    assert np.array_equal(found.tensors["a.weight"].importance, DENSE.sums / np.float32(5))


@pytest.mark.parametrize("cut", [0, 3, 5, 20, 100, 300, -1, -9])
def test_an_older_form_cut_short(cut: int, tmp_path: Path) -> None:
    (tmp_path / "m.dat").write_bytes(old_form()[:cut])
    with pytest.raises(FormatError, match="is not an importance matrix"):
        read_imatrix(tmp_path / "m.dat")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"\0\0imatrix\x10", b"\0\0adapter\x10", "is not an importance matrix"),
        (b"b.weight.counts", b"b.weight.count2", "b.weight.counts is missing"),
        (
            b"imatrix.chunk_size\x04",
            b"imatrix.chunk_size\x06",
            "imatrix metadata of the wrong type",
        ),
        (b"GGUF", b"FUGG", "is not an importance matrix"),
    ],
)
def test_damage_and_other_files(old: bytes, new: bytes, said: str, tmp_path: Path) -> None:
    write_imatrix(MATRIX, tmp_path / "m.gguf")
    data = (tmp_path / "m.gguf").read_bytes()
    assert data.count(old) == 1
    (tmp_path / "m.gguf").write_bytes(data.replace(old, new))
    with pytest.raises(FormatError, match=said):
        read_imatrix(tmp_path / "m.gguf")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read"):
        read_imatrix(tmp_path / "none.gguf")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1])
def test_what_no_sum_of_squares_can_be(value: float, tmp_path: Path) -> None:
    sums = DENSE.sums.copy()
    sums[0, 9] = value
    write_imatrix(Imatrix({"a.weight": Activations(sums, DENSE.counts)}), tmp_path / "m.gguf")
    with pytest.raises(
        FormatError, match=r"a\.weight has a sum of squares that is negative or not finite"
    ):
        read_imatrix(tmp_path / "m.gguf")


def test_an_output_that_exists_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_text("mine")
    with pytest.raises(OutputExistsError):
        write_imatrix(MATRIX, tmp_path / "m.gguf")
    assert (tmp_path / "m.gguf").read_text() == "mine"


@pytest.mark.parametrize("sums", [np.zeros(64), np.full(64, 3e38), np.eye(1, 64)[0] * 1e17])
def test_importances_that_ggml_cannot_quantize_with(sums: np.ndarray, tmp_path: Path) -> None:
    """All 0 quantizes to zeros; huge ones overflow to NaN, or end the process (IQ3_XXS)."""
    activations = Activations(sums[None].astype(np.float32), np.array([1], np.float32))
    write_imatrix(Imatrix({"a.weight": activations}), tmp_path / "m.gguf")
    with pytest.raises(FormatError, match=r"a\.weight has mean squares .* all 0, or above 1e\+12"):
        read_imatrix(tmp_path / "m.gguf")


def test_a_name_that_no_message_can_show(tmp_path: Path) -> None:
    write_imatrix(Imatrix({"a\x07.weight": DENSE}), tmp_path / "m.gguf")
    with pytest.raises(FormatError, match=r"has a tensor 'a\\x07\.weight"):
        read_imatrix(tmp_path / "m.gguf")
