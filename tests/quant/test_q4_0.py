"""Our Q4_0 blocks, read with gguf and compared with ggml's rounding."""

import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGMLQuantizationType

from gritlite import FormatError, UsageError
from gritlite.quant import q4_0
from gritlite.quant.rows import quantize_rows

TYPE = GGMLQuantizationType.Q4_0


def block_errors(stored, values):
    """Return the squared error of each block."""
    found = quants.dequantize(stored, TYPE)
    return ((found.astype(float) - values) ** 2).reshape(-1, 32).sum(axis=1)


def test_numbers_and_scales_are_those_given():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 16, (5, 3, 32), dtype=np.uint8)
    scales = rng.normal(size=(3, 5)).astype(np.float16).T  # not in C's order
    found = quants.dequantize(q4_0.pack(scales, numbers).reshape(5, -1), TYPE)
    wanted = scales.astype(np.float32)[..., None] * (numbers.astype(np.float32) - 8)
    np.testing.assert_array_equal(found, wanted.reshape(5, -1))


@pytest.mark.parametrize("kind", ["normal", "uniform", "heavy tails", "one sign", "few"])
def test_no_block_has_a_larger_error_than_ggmls(kind):
    rng = np.random.default_rng(0)
    values = {
        "normal": lambda shape: rng.normal(size=shape),
        "uniform": lambda shape: rng.uniform(-1, 1, shape),
        "heavy tails": lambda shape: rng.standard_t(2, shape),
        "one sign": lambda shape: rng.exponential(size=shape),
        "few": lambda shape: rng.normal(size=shape) * (rng.random(shape) < 0.1),
    }[kind]((200, 192)).astype(np.float32)
    ours = block_errors(q4_0.quantize(values), values)
    theirs = block_errors(quantize_rows(values, TYPE, threads=1), values)
    assert (ours <= theirs * 1.001 + 1e-9).all()  # scales are float16
    if kind == "normal":
        assert ours.sum() < 0.93 * theirs.sum()


@pytest.mark.parametrize("value", [0.0, 1e-38, 3.0, -60000.0])
def test_a_block_that_is_all_alike(value):
    values = np.full((2, 64), value, np.float32)
    found = quants.dequantize(q4_0.quantize(values), TYPE)
    np.testing.assert_allclose(found, values, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_it_cannot_hold_is_refused(value):
    values = np.ones((2, 64), np.float32)
    values[1, 5] = value
    with pytest.raises(FormatError, match="not finite, or too large"):
        q4_0.quantize(values)


def test_rows_of_no_whole_blocks_are_refused():
    with pytest.raises(UsageError, match="rows of 33 values do not fit Q4_0"):
        q4_0.quantize(np.ones((2, 33), np.float32))
