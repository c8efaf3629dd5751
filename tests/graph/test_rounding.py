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


@pytest.mark.parametrize("limit", [127, 63])
def test_channels(limit):
    rows = np.random.default_rng(0).normal(size=(7, 40)).astype(np.float32)
    rows[3] = 0
    channels = round_channels(rows, limit=limit)
    assert np.abs(channels.values).max() == limit
    restored = channels.values * channels.scales[:, None]
    assert (np.abs(restored - rows).max(axis=1) <= channels.scales * 0.501).all()
    assert (restored[3] == 0).all()
