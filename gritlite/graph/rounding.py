"""Matrices as whole numbers and scales: one scale for each output channel, or for each block.

Blocks are those of ggml's Q8_0 and Q4_0 (ggml-common.h: `block_q8_0`, `block_q4_0`): a float16
scale and 32 numbers. The module does not know layers or runtimes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.graph.tensors import Floats
from gritlite.quant.rows import quantize_rows

BLOCK = 32
_LARGEST = 127  # of an int8 number of either sign
PAIR_LIMIT = 128  # of two numbers of one sign, multiplied by bytes: 255 * 128 < 2^15
# the types whose own numbers are blocks
BLOCK_BITS = {GGMLQuantizationType.Q8_0: 8, GGMLQuantizationType.Q4_0: 4}


@dataclass(frozen=True)
class Channels:
    """int8 `values` [n, k] times float32 `scales` [n], one for each row."""

    values: NDArray[np.int8] = field(repr=False)
    scales: Floats = field(repr=False)


@dataclass(frozen=True)
class Blocks:
    """int8 `values` [n, blocks, 32] times float16 `scales` [n, blocks].

    With 4 `bits` the values lie in -8..7, with 8 in -128..127.
    """

    values: NDArray[np.int8] = field(repr=False)
    scales: NDArray[np.float16] = field(repr=False)
    bits: int


def round_channels(rows: Floats, *, pair_limit: int | None = None) -> Channels:
    """Round each row of [n, k] to whole numbers of at most 127, by its largest number.

    With `pair_limit` the columns 2i and 2i + 1 of a row have no larger sum if they are of one
    sign: x86 without VNNI adds the products of such pairs in 16 bits, which saturate above
    PAIR_LIMIT.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0) / np.float32(_LARGEST)
    if pair_limit is not None:
        sums = [_pair_sums(sign * rows).max(axis=1, initial=0.0) for sign in (1, -1)]
        largest = np.maximum(largest, np.maximum(*sums) / np.float32(pair_limit))
    scales = np.where(largest > 0, largest, 1.0).astype(np.float32)
    values = np.clip(np.rint(rows / scales[:, None]), -_LARGEST, _LARGEST).astype(np.int8)
    if pair_limit is not None:  # both may have been rounded up
        for sign in (1, -1):
            over = _pair_sums(sign * values.astype(np.int16)) > pair_limit
            values[:, ::2][over] -= np.int8(sign)
    return Channels(values, scales)


def _pair_sums(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of the positive numbers of each pair of columns, [n, pairs]."""
    positive = np.maximum(rows, 0)
    sums: NDArray[Any] = positive[:, ::2].copy()
    sums[:, : rows.shape[1] // 2] += positive[:, 1::2]
    return sums


def round_blocks(rows: Floats, threads: int = 1) -> Blocks:
    """Round [n, k] to ggml's Q8_0; k is a multiple of 32."""
    type = GGMLQuantizationType.Q8_0
    return stored_blocks(quantize_rows(rows, type, threads), type)


def joined_blocks(parts: Sequence[Blocks]) -> Blocks:
    """Return the rows of several matrices as one, with the most bits of any; no number changes."""
    return Blocks(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.scales for part in parts]),
        max(part.bits for part in parts),
    )


def stored_blocks(stored: NDArray[np.uint8], type: GGMLQuantizationType) -> Blocks:
    """Return the numbers of stored rows, uint8 [n, bytes], of Q8_0 or Q4_0, unchanged."""
    bits = BLOCK_BITS[type]
    each = stored.reshape(len(stored), -1, 2 + BLOCK * bits // 8)
    scales = np.ascontiguousarray(each[:, :, :2]).view(np.float16)[:, :, 0]
    numbers = np.ascontiguousarray(each[:, :, 2:])
    if bits == 8:
        return Blocks(numbers.view(np.int8), scales, bits)
    values = np.concatenate([numbers & 15, numbers >> 4], axis=2).astype(np.int8) - np.int8(8)
    return Blocks(values, scales, bits)
