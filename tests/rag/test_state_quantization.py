"""Quantized matrices of states: their size and their error."""

import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGMLQuantizationType

from gritlite import UsageError
from gritlite.rag.state_quantization import SHARE_OF_F16, pack, packed_bytes, unpack

STATE_TYPES = ("f16", "q8_0", "q4_0")


def matrix(cells=50, columns=192):
    """Like the keys of a model: columns far from zero, and some much larger than others."""
    rng = np.random.default_rng(0)
    size = np.where(np.arange(columns) % 29 == 3, 8.0, 0.5)
    values = rng.normal(size=(cells, columns)) * size + 3 * size * rng.normal(size=columns)
    return values.astype(np.float16)


def back(values, numbers, *, keys):
    data = np.frombuffer(pack(values, numbers, keys=keys), np.uint8)
    assert len(data) == packed_bytes(*values.shape, numbers, keys=keys)
    return unpack(data, values.shape[1], numbers, keys=keys)


def error(found, wanted):
    return np.linalg.norm(found.astype(float) - wanted) / np.linalg.norm(wanted.astype(float))


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize(("numbers", "most"), [("f16", 0.0), ("q8_0", 0.02), ("q4_0", 0.2)])
@pytest.mark.parametrize("columns", [32, 96, 192, 1024])
def test_a_matrix_comes_back(numbers, most, columns, keys):
    values = matrix(columns=columns)
    found = back(values, numbers, keys=keys)
    assert found.shape == values.shape
    assert found.dtype == np.float16
    assert error(found, values) <= most


@pytest.mark.parametrize(
    ("numbers", "type"),
    [("q8_0", GGMLQuantizationType.Q8_0), ("q4_0", GGMLQuantizationType.Q4_0)],
)
def test_values_are_plain_rows_of_ggml(numbers, type):
    values = matrix()
    data = np.frombuffer(pack(values, numbers, keys=False), np.uint8)
    wanted = quants.dequantize(data.reshape(len(values), -1), type)
    np.testing.assert_allclose(back(values, numbers, keys=False), wanted, rtol=1e-3, atol=1e-6)


def test_keys_in_four_bits_lose_less_than_plain_rows():
    values = matrix()
    plain = error(back(values, "q4_0", keys=False), values)
    assert error(back(values, "q4_0", keys=True), values) < plain / 5
    deep = np.abs(values).mean(axis=0) < 2  # the small columns, which large ones drown
    small = error(back(values, "q4_0", keys=False)[:, deep], values[:, deep])
    assert error(back(values, "q4_0", keys=True)[:, deep], values[:, deep]) < small / 5


def test_keys_that_are_all_alike_come_back_as_they_were():
    values = np.repeat(matrix(cells=1), 9, axis=0)
    np.testing.assert_array_equal(back(values, "q4_0", keys=True), values)


@pytest.mark.parametrize("keys", [True, False])
def test_sizes_are_those_told(keys):
    values = matrix(cells=256)
    for numbers in STATE_TYPES:
        share = len(pack(values, numbers, keys=keys)) / values.nbytes
        assert SHARE_OF_F16[numbers] <= share <= SHARE_OF_F16[numbers] + 1 / 256


def test_rows_of_no_whole_blocks_are_refused():
    with pytest.raises(UsageError, match="33"):
        pack(matrix(columns=33), "q4_0", keys=True)
