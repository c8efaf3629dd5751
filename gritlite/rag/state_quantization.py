"""The matrices of a state in fewer bits and back: float16, or ggml's q8_0 and q4_0 rows.

Quantized rows are ggml's own q8_0 (34 bytes for 32 numbers) and q4_0 (18), the
types that llama.cpp quantizes its key-value memory to.

Keys in q4_0 are made even first. Some of their columns stand far from zero in every
cell and are far larger than others, which the sixteen steps of a block then round to
nothing. So each column loses its mean (SageAttention, arXiv 2410.02367), which is kept
in float16 before the rows, and what is left is multiplied by a Hadamard matrix in
groups of at most 64 columns, which spreads what is large (QuaRot, arXiv 2404.00456),
and rounded as `q4_0.quantize` does. Values have no such columns, and answers gain nothing
where they are rounded so.
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
_GROUP = 64  # no more than a head has in most models
# rows: OpenBLAS multiplies so few without its threads, which would wait spinning beside llama.cpp's
_STACK = 32


def pack(rows: NDArray[np.float16], numbers: StateType, *, keys: bool) -> bytes:
    """The rows [cells, columns] of the keys, or of the values, of a layer.

    Raises UsageError where columns are no whole number of blocks of 32.
    """
    if numbers == "f16":
        return rows.astype(_HALF, copy=False).tobytes()
    values = to_float32(rows)
    if not _mean_bytes(values.shape[1], numbers, keys):
        return quantize_rows(values, _TYPES[numbers], threads=1).tobytes()
    mean = values.mean(axis=0).astype(_HALF)
    stored = q4_0.quantize(_rotated(values - mean.astype(np.float32)))
    return bytes(mean) + bytes(stored)


def packed_bytes(cells: int, columns: int, numbers: StateType, *, keys: bool) -> int:
    """The length of what `pack` makes of as many cells and columns."""
    return _mean_bytes(columns, numbers, keys) + cells * row_bytes(_TYPES[numbers], columns)


def unpack(
    data: NDArray[np.uint8], columns: int, numbers: StateType, *, keys: bool
) -> NDArray[np.float16]:
    """The rows [cells, columns] again."""
    if numbers == "f16":
        return data.view(_HALF).reshape(-1, columns)
    size = _mean_bytes(columns, numbers, keys)
    stored = data[size:].reshape(-1, row_bytes(_TYPES[numbers], columns))
    values = dequantize_rows(stored, _TYPES[numbers])
    if size:
        values = _rotated(values)
        values += data[:size].view(_HALF).astype(np.float32)
    return to_float16(values)


def _mean_bytes(columns: int, numbers: StateType, keys: bool) -> int:
    """Of the mean before the rows, which keys in q4_0 have and nothing else."""
    return columns * _HALF.itemsize if keys and numbers == "q4_0" else 0


def _rotated(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows times a Hadamard matrix in groups of columns: the same again undoes it."""
    columns = values.shape[1]
    size = min(columns & -columns, _GROUP)  # the largest power of two that divides them
    rows, matrix = values.reshape(-1, size), _hadamard(size)
    stacked = rows[: len(rows) // _STACK * _STACK].reshape(-1, _STACK, size) @ matrix
    rest = rows[len(rows) // _STACK * _STACK :] @ matrix
    return np.concatenate([stacked.reshape(-1, size), rest]).reshape(values.shape)


@functools.cache
def _hadamard(size: int) -> NDArray[np.float32]:
    """The orthogonal and symmetric matrix [size, size] of Sylvester; `size` is a power of two."""
    matrix = np.full((1, 1), 1 / np.sqrt(size), np.float32)
    while len(matrix) < size:
        matrix = np.vstack([np.hstack([matrix, matrix]), np.hstack([matrix, -matrix])])
    return matrix
