"""Blocks and channels stand for the numbers that they are made from."""

import gguf
import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

from gritlite.graph.rounding import Blocks, joined_blocks, round_channels, stored_blocks

TYPES = (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0)


def stored_rows(type: GGMLQuantizationType, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(5, 96)).astype(np.float32)
    return gguf.quantize(rows, type)


def floats(blocks: Blocks) -> np.ndarray:
    values = blocks.values.astype(np.float32) * blocks.scales.astype(np.float32)[:, :, None]
    return values.reshape(len(values), -1)


@pytest.mark.parametrize("type", TYPES)
def test_stored_blocks(type):
    stored = stored_rows(type, 0)
    np.testing.assert_array_equal(
        floats(stored_blocks(stored, type)), gguf.dequantize(stored, type)
    )


def test_rows_of_two_types():
    stored = [stored_rows(type, seed) for seed, type in enumerate(TYPES)]
    joined = joined_blocks([stored_blocks(*pair) for pair in zip(stored, TYPES, strict=True)])
    assert joined.bits == 8
    expected = np.concatenate([gguf.dequantize(*pair) for pair in zip(stored, TYPES, strict=True)])
    np.testing.assert_array_equal(floats(joined), expected)


def test_channels():
    rows = np.random.default_rng(0).normal(size=(7, 40)).astype(np.float32)
    rows[3] = 0
    channels = round_channels(rows)
    assert (np.abs(channels.values).max(axis=1) == [127, 127, 127, 0, 127, 127, 127]).all()
    restored = channels.values * channels.scales[:, None]
    assert (np.abs(restored - rows).max(axis=1) <= channels.scales * 0.501).all()


@pytest.mark.parametrize("columns", [40, 41])
def test_channels_with_a_limit_of_pairs(columns):
    rows = np.random.default_rng(1).normal(size=(50, columns)).astype(np.float32)
    rows[3] = 0
    rows[4, :2] = 50, -50  # of two signs: they never add up
    rows[5, :2] = 50, 50
    channels = round_channels(rows, pair_limit=128)
    values = np.pad(channels.values.astype(int), ((0, 0), (0, columns % 2)))
    for sign in (1, -1):
        pairs = np.maximum(sign * values, 0).reshape(50, -1, 2).sum(axis=2)
        assert pairs.max() <= 128
    assert channels.values[4, :2].tolist() == [127, -127]
    assert channels.values[5, :2].tolist() == [64, 64]
    restored = channels.values * channels.scales[:, None]
    errors = np.abs(restored - rows) / channels.scales[:, None]
    assert errors.max() <= 1.5  # a pair that was rounded up to 129 is one less
    assert (errors > 0.501).mean() < 0.01
