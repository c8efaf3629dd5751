"""Quantizes the keys and values of a state: float16, or rows in ggml's q8_0 or q4_0.

Those are ggml's own types (34 and 18 bytes for 32 numbers), to which llama.cpp can
quantize its key-value cache.

Keys are smoothed before they are quantized to q4_0. A few of their columns are far from zero
in every token, and so much larger than the others that the sixteen levels of a block would
round the others to nothing. So the mean of each column is subtracted (SageAttention, arXiv
2410.02367) and kept in float16 before the rows; the rest is multiplied by a Hadamard matrix
in groups of at most 64 columns, which spreads large values (QuaRot, arXiv 2404.00456), and
rounded by `q4_0.quantize`. Values have no such columns, and answers gain nothing from
smoothing them.
"""

import functools
from typing import Literal

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.quant import q4_0
from gritlite.quant.float16 import to_float16, to_float32
from gritlite.quant.rows import dequantize_rows, quantize_rows
from gritlite.quant.types import row_bytes

StateType = Literal["f16", "q8_0", "q4_0"]

SHARE_OF_F16: dict[StateType, float] = {"f16": 1.0, "q8_0": 34 / 64, "q4_0": 18 / 64}

_TYPES: dict[StateType, GGMLQuantizationType] = {
    "f16": GGMLQuantizationType.F16,
    "q8_0": GGMLQuantizationType.Q8_0,
    "q4_0": GGMLQuantizationType.Q4_0,
}
_HALF = np.dtype("<f2")
_GROUP = 64  # at most the head size of most models
# rows: OpenBLAS multiplies so few on one thread; its idle threads would spin beside llama.cpp
_STACK = 32


def pack(rows: NDArray[np.float16], state_type: StateType, *, keys: bool) -> bytes:
    """The bytes of the keys, or of the values, of a layer: rows [tokens, columns].

    Raises UsageError unless the columns are a multiple of 32, the size of a block.
    """
    if state_type == "f16":
        return rows.astype(_HALF, copy=False).tobytes()
    values = to_float32(rows)
    if not _mean_bytes(values.shape[1], state_type, keys):
        return quantize_rows(values, _TYPES[state_type], threads=1).tobytes()
    mean = values.mean(axis=0).astype(_HALF)
    stored = q4_0.quantize(_rotated(values - mean.astype(np.float32)))
    return bytes(mean) + bytes(stored)


def packed_bytes(tokens: int, columns: int, state_type: StateType, *, keys: bool) -> int:
    """The number of bytes that `pack` returns for so many rows and columns."""
    return _mean_bytes(columns, state_type, keys) + tokens * row_bytes(_TYPES[state_type], columns)


def unpack(
    data: NDArray[np.uint8], columns: int, state_type: StateType, *, keys: bool
) -> NDArray[np.float16]:
    """The rows [tokens, columns] that were packed, up to rounding."""
    if state_type == "f16":
        return data.view(_HALF).reshape(-1, columns)
    size = _mean_bytes(columns, state_type, keys)
    stored = data[size:].reshape(-1, row_bytes(_TYPES[state_type], columns))
    values = dequantize_rows(stored, _TYPES[state_type])
    if size:
        with np.errstate(all="ignore"):  # in a damaged file; see `is_finite`
            values = _rotated(values)
            values += data[:size].view(_HALF).astype(np.float32)
    return to_float16(values)


def is_finite(rows: NDArray[np.float16]) -> bool:
    """Whether no number is NaN or infinite: none has all bits of the exponent set."""
    bits = rows.view(np.uint16) & 0x7FFF
    return not bits.size or int(bits.max()) < 0x7C00


def _mean_bytes(columns: int, state_type: StateType, keys: bool) -> int:
    """The bytes of the mean before the rows, which only keys in q4_0 have."""
    return columns * _HALF.itemsize if keys and state_type == "q4_0" else 0


def _rotated(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply groups of columns by a Hadamard matrix, which is its own inverse."""
    columns = values.shape[1]
    size = min(columns & -columns, _GROUP)  # the largest power of two that divides the columns
    rows, matrix = values.reshape(-1, size), _hadamard(size)
    stacked = rows[: len(rows) // _STACK * _STACK].reshape(-1, _STACK, size) @ matrix
    rest = rows[len(rows) // _STACK * _STACK :] @ matrix
    return np.concatenate([stacked.reshape(-1, size), rest]).reshape(values.shape)


@functools.cache
def _hadamard(size: int) -> NDArray[np.float32]:
    """Sylvester's orthogonal, symmetric matrix [size, size]; `size` is a power of two."""
    matrix = np.full((1, 1), 1 / np.sqrt(size), np.float32)
    while len(matrix) < size:
        matrix = np.vstack([np.hstack([matrix, matrix]), np.hstack([matrix, -matrix])])
    return matrix
