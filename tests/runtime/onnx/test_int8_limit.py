"""int8 matrices stay so small that x86 without VNNI sums their products exactly."""

import numpy as np
import pytest

from benchmarks.saturation import largest_error
from gritlite.graph.rounding import round_channels
from gritlite.runtime.onnx import onnx_files
from gritlite.system import processor


def saturating(bytes_: np.ndarray, weights: np.ndarray) -> int:
    """A product as vpmaddubsw and vpmaddwd compute it: pairs are added in saturating int16."""
    products = bytes_.astype(np.int32) * weights.astype(np.int32)
    pairs = products.reshape(-1, 2).sum(axis=1)
    return int(np.clip(pairs, -(2**15), 2**15 - 1).sum())


def exact(bytes_: np.ndarray, weights: np.ndarray) -> int:
    return int(bytes_.astype(np.int64) @ weights.astype(np.int64))


WORST = np.full(64, 255, np.uint8)


@pytest.mark.parametrize("sign", [1, -1])
def test_no_sum_saturates_at_the_reduced_limit(sign):
    rows = np.full((1, 64), sign * 0.37, np.float32)
    reduced = round_channels(rows, limit=onnx_files.REDUCED).values[0]
    assert np.abs(reduced.astype(int)).max() == onnx_files.REDUCED
    assert saturating(WORST, reduced) == exact(WORST, reduced)
    full = round_channels(rows, limit=onnx_files.FULL).values[0]
    assert saturating(WORST, full) != exact(WORST, full)
    larger = np.full(64, sign * (onnx_files.REDUCED + 1), np.int8)  # no limit above it is safe
    assert saturating(WORST, larger) != exact(WORST, larger)


def test_random_matrices_at_the_reduced_limit():
    random = np.random.default_rng(0)
    rows = random.standard_t(2, (50, 256)).astype(np.float32)
    for weights in round_channels(rows, limit=onnx_files.REDUCED).values:
        inputs = random.choice([0, 254, 255], 256).astype(np.uint8)
        assert saturating(inputs, weights) == exact(inputs, weights)


@pytest.mark.parametrize("limit", [onnx_files.REDUCED, onnx_files.int8_limit()])
def test_products_on_this_processor_are_exact(limit):
    assert largest_error(limit) < 1e-6


@pytest.mark.parametrize(
    ("is_x86", "flags", "limit"),
    [
        (True, ("avx2", "fma"), onnx_files.REDUCED),
        (True, ("avx2", "avx512bw", "avx512f"), onnx_files.REDUCED),
        (True, (), onnx_files.REDUCED),  # a system that lists no flags
        (True, ("avx2", "avx_vnni"), onnx_files.FULL),
        (True, ("avx512_vnni", "avx512f"), onnx_files.FULL),
        (True, ("amx_int8",), onnx_files.FULL),
        (False, ("asimd",), onnx_files.FULL),
    ],
)
def test_the_limit_of_a_processor(monkeypatch, is_x86, flags, limit):
    monkeypatch.setattr(processor, "is_x86", lambda: is_x86)
    monkeypatch.setattr(processor, "kernel_flags", lambda: flags)
    assert onnx_files.int8_limit() == limit
