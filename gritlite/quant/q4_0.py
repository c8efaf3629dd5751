"""Q4_0 blocks: packing, and a quantizer with a smaller error than ggml's.

A block (`block_q4_0` of ggml-common.h, 18 bytes) holds 32 values `scale * (q - 8)`: the
scale in float16, then the 32 integers q, 0 to 15, the first 16 in the low halves of the
bytes and the others in the high halves.
"""

from typing import NamedTuple

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import FormatError
from gritlite.quant.types import row_bytes

BLOCK = 32
ZERO_POINT = 8  # the q that stands for zero
# steps between zero and the largest value of a block: 8 reaches the last q, 8.6 is clipped
_STEPS = (8.0, 8.6)
_TINY = 1e-30  # far below the smallest float16, and safe to divide by


def pack(scales: NDArray[np.floating], integers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack scales [...] and integers q [..., 32] into blocks, uint8 [..., 18]."""
    packed = np.empty((*scales.shape, 2 + BLOCK // 2), np.uint8)
    packed[..., :2] = scales.astype("<f2", order="C")[..., None].view(np.uint8)
    packed[..., 2:] = integers[..., : BLOCK // 2] | integers[..., BLOCK // 2 :] << 4
    return packed


def quantize(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize rows [n, k] to Q4_0, uint8 [n, bytes per row].

    Each block is rounded with two step sizes, each scale is fitted by least squares, and
    the better result is taken; ggml uses the first step size and does not fit. For
    normally distributed values this removes a twelfth of the squared error and takes
    twice the time.

    Raises UsageError if k is not a whole number of blocks, and FormatError for values
    that are not finite or too large for float16.
    """
    size = row_bytes(GGMLQuantizationType.Q4_0, rows.shape[1])
    values = rows.reshape(-1, BLOCK)
    largest = np.take_along_axis(values, np.abs(values).argmax(axis=1, keepdims=True), axis=1)
    largest[np.abs(largest) < _TINY] = 1.0
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        first, second = (_fit(values, values * (-steps / largest)) for steps in _STEPS)
    better = second.gains > first.gains
    integers = np.where(better[:, None], second.integers, first.integers)
    scales = np.where(better, second.scales, first.scales)
    if not np.abs(scales).max(initial=0.0) <= np.finfo(np.float16).max:  # false for NaN too
        raise FormatError("a row has values that are not finite, or too large for q4_0")
    return pack(scales, integers).reshape(len(rows), size)


class _Fit(NamedTuple):
    """Integers q [n, 32] and scales [n] of blocks; `gains` [n] is the squared error saved."""

    integers: NDArray[np.uint8]
    scales: NDArray[np.float32]
    gains: NDArray[np.float32]


def _fit(values: NDArray[np.float32], steps: NDArray[np.float32]) -> _Fit:
    """Round `steps` [n, 32] to integers, and fit the scales to `values` [n, 32]."""
    whole = np.clip(np.rint(steps), -ZERO_POINT, ZERO_POINT - 1)
    shared = np.einsum("ij,ij->i", values, whole)
    scales = shared / np.maximum(np.einsum("ij,ij->i", whole, whole), 1.0)
    return _Fit((whole + ZERO_POINT).astype(np.uint8), scales, shared * scales)
