"""Neighbouring int8 weights are so small that x86 without VNNI sums their products exactly."""

import numpy as np
import pytest

from benchmarks.saturation import extreme_weights, largest_error
from gritlite.graph.rounding import PAIR_LIMIT, round_channels
from gritlite.runtime.onnx import onnx_files
from gritlite.system import processor


def saturating(inputs: np.ndarray, weights: np.ndarray) -> int:
    """A product as vpmaddubsw and vpmaddwd compute it: pairs are added in saturating int16."""
    products = inputs.astype(np.int32) * weights.astype(np.int32)
    pairs = products.reshape(-1, 2).sum(axis=1)
    return int(np.clip(pairs, -(2**15), 2**15 - 1).sum())


def exact(inputs: np.ndarray, weights: np.ndarray) -> int:
    return int(inputs.astype(np.int64) @ weights.astype(np.int64))


RANDOM = np.random.default_rng(0)
LARGEST = np.full(256, 255, np.uint8)
ROWS = {
    "all alike": np.full((2, 256), 0.37, np.float32),
    "alternating": np.tile(np.array([0.2, -0.9], np.float32), (2, 128)),
    "outliers": RANDOM.standard_t(2, (50, 256)).astype(np.float32),
    "normal": RANDOM.normal(size=(50, 256)).astype(np.float32),
    "whole numbers": RANDOM.integers(-3, 4, (50, 256)).astype(np.float32),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("sign", [1, -1])
def test_no_sum_saturates(rows, sign):
    for weights in round_channels(sign * rows, pair_limit=PAIR_LIMIT).values:
        # a sum is largest where only the numbers of one sign meet large inputs
        for inputs in (LARGEST, LARGEST * (weights > 0), LARGEST * (weights < 0)):
            assert saturating(inputs, weights) == exact(inputs, weights)


def test_sums_saturate_without_the_limit_and_above_it():
    (weights, _) = round_channels(ROWS["all alike"]).values
    assert saturating(LARGEST, weights) != exact(LARGEST, weights)
    weights = extreme_weights(PAIR_LIMIT + 1, RANDOM)[:256, 0]
    assert saturating(LARGEST, weights) != exact(LARGEST, weights)


@pytest.mark.parametrize("limit", [PAIR_LIMIT, onnx_files.pair_limit() or 254])
def test_products_on_this_processor_are_exact(limit):
    assert largest_error(limit) < 1e-6


@pytest.mark.parametrize(
    ("is_x86", "flags", "limit"),
    [
        (True, ("avx2", "fma"), PAIR_LIMIT),
        (True, ("avx2", "avx512bw", "avx512f"), PAIR_LIMIT),
        (True, (), PAIR_LIMIT),  # a system that lists no flags
        (True, ("avx2", "avx_vnni"), None),
        (True, ("avx512_vnni", "avx512f"), None),
        (True, ("amx_int8",), None),
        (False, ("asimd",), None),
    ],
)
def test_the_limit_of_a_processor(monkeypatch, is_x86, flags, limit):
    monkeypatch.setattr(processor, "is_x86", lambda: is_x86)
    monkeypatch.setattr(processor, "kernel_flags", lambda: flags)
    assert onnx_files.pair_limit() == limit
