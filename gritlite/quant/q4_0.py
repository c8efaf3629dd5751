"""q4_0 blocks from numbers: those of a GPTQ solution, or of a finer rounding than ggml's.

A block (`block_q4_0` of ggml-common.h, 18 bytes) holds 32 values `scale * (number - 8)`:
the scale in float16, then the numbers, 0 to 15, of which the first 16 stand in the low
halves of the bytes and the others in the high halves.
"""

from typing import NamedTuple

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import FormatError
from gritlite.quant.types import row_bytes

BLOCK = 32
MIDDLE = 8  # the number that stands for zero
# how far from it the largest value of a block may fall: on the last number, or cut off behind it
_STEPS = (8.0, 8.6)
_NOTHING = 1e-30  # smaller than what float16 holds by far, and no danger to divide by


def blocks(scales: NDArray[np.floating], numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blocks [..., 18] of scales [...] and numbers [..., 32]."""
    packed = np.empty((*scales.shape, 2 + BLOCK // 2), np.uint8)
    packed[..., :2] = scales.astype("<f2", order="C")[..., None].view(np.uint8)
    packed[..., 2:] = numbers[..., : BLOCK // 2] | numbers[..., BLOCK // 2 :] << 4
    return packed


def quantize(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Rows [n, k] in q4_0, uint8 [n, bytes of a row].

    Each block is rounded with two steps, and the scale of each is fitted by least squares;
    the better one is taken. ggml takes the first step, and does not fit. Of normal numbers
    a twelfth of the squared error goes, in twice the time.
    Raises UsageError where k is no whole number of blocks, and FormatError for what is not
    finite or too large for float16.
    """
    size = row_bytes(GGMLQuantizationType.Q4_0, rows.shape[1])
    values = rows.reshape(-1, BLOCK)
    largest = np.take_along_axis(values, np.abs(values).argmax(axis=1, keepdims=True), axis=1)
    largest[np.abs(largest) < _NOTHING] = 1.0
    with np.errstate(over="ignore", invalid="ignore"):  # found below
        first, second = (_fitted(values, values * (-steps / largest)) for steps in _STEPS)
    better = second.gains > first.gains
    numbers = np.where(better[:, None], second.numbers, first.numbers)
    scales = np.where(better, second.scales, first.scales)
    if not np.abs(scales).max(initial=0.0) <= np.finfo(np.float16).max:  # nor NaN
        raise FormatError("a row holds numbers that are not finite, or too large for q4_0")
    return blocks(scales, numbers).reshape(len(rows), size)


class _Fit(NamedTuple):
    """Blocks as numbers [n, 32] and scales [n]; `gains` is what the sum of squares loses [n]."""

    numbers: NDArray[np.uint8]
    scales: NDArray[np.float32]
    gains: NDArray[np.float32]


def _fitted(values: NDArray[np.float32], steps: NDArray[np.float32]) -> _Fit:
    """Blocks of values [n, 32] that are so many steps [n, 32] from zero."""
    whole = np.clip(np.rint(steps), -MIDDLE, MIDDLE - 1)
    shared = np.einsum("ij,ij->i", values, whole)
    scales = shared / np.maximum(np.einsum("ij,ij->i", whole, whole), 1.0)
    return _Fit((whole + MIDDLE).astype(np.uint8), scales, shared * scales)
