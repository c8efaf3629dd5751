"""Quantize and dequantize float32 rows with ggml's own code.

A row's bytes depend on that row alone, so neither the number of threads nor the way
a tensor is split into row ranges (a Mixtral tensor into experts) changes them. The
module does not know tensor names: callers add them to its errors.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from gguf import quants
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import FormatError, UsageError
from gritlite.quant import ggml
from gritlite.quant.types import block_bytes, block_size, needs_imatrix, row_bytes

# 1 MiB of float32: large enough to hide Python's overhead, small enough for caches and threads
_CHUNK_VALUES = 1 << 18

# while the values fit float16, so do the scales of every type
_SAFE_MAGNITUDE = float(np.finfo(np.float16).max)


def quantize_rows(
    rows: NDArray[np.float32],
    type: GGMLQuantizationType,
    threads: int,
    importance: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Quantize `rows` [n, k] to `type`, uint8 [n, bytes per row].

    `importance` [k], finite, says how much an error in each column matters. Every type,
    F16 and BF16 included, goes through ggml_quantize_chunk, so the bytes equal those of
    llama.cpp's llama_model_quantize. As there, rows must be finite before and after.

    Raises UsageError if k is not a whole number of blocks of `type` or if the type needs
    an importance and there is none, and FormatError with the number of the first row
    that has a NaN, an infinity or a value too large for the type.
    """
    count, length = rows.shape
    if importance is None and needs_imatrix(type):
        raise UsageError(f"{type.name} needs an importance matrix: choose another type")
    output = np.empty((count, row_bytes(type, length)), dtype=np.uint8)
    ggml.prepare(type)
    rows = np.ascontiguousarray(rows)
    if importance is not None:
        importance = np.ascontiguousarray(importance)
    step = max(1, _CHUNK_VALUES // max(1, length))

    def quantize(start: int) -> None:
        _quantize_range(rows, type, output, start, min(start + step, count), importance)

    starts = range(0, count if length else 0, step)
    if threads < 2 or len(starts) < 2:
        for start in starts:
            quantize(start)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(quantize, starts):
                pass
    return output


def dequantize_rows(stored: NDArray[np.uint8], type: GGMLQuantizationType) -> NDArray[np.float32]:
    """Dequantize `stored` [n, bytes per row] of `type` to float32 [n, k].

    For F32 the result is a view, not a copy. Raises LibraryError for a type that ggml
    cannot dequantize.
    """
    if type is GGMLQuantizationType.F32:
        return stored.view(np.float32)
    count, size = stored.shape
    output = np.empty((count, size // block_bytes(type) * block_size(type)), np.float32)
    ggml.dequantize_chunk(type, np.ascontiguousarray(stored), output)
    return output


def check_rows(stored: NDArray[np.uint8], type: GGMLQuantizationType, threads: int) -> None:
    """Check that `stored` [n, bytes per row] of a quantized type stands for finite numbers.

    Raises FormatError with the number of the first row that has a NaN or an infinity.
    """
    length = stored.shape[1] // block_bytes(type) * block_size(type)
    step = max(1, _CHUNK_VALUES // max(1, length))

    def check(start: int) -> None:
        with np.errstate(all="ignore"):
            rows = dequantize_rows(stored[start : start + step], type)
        if rows.size and not np.isfinite(max(rows.max(), -rows.min())):  # the largest is NaN too
            _refuse_non_finite(rows, start, "has a NaN or an infinity")

    with ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in pool.map(check, range(0, len(stored), step)):
            pass


def _quantize_range(
    rows: NDArray[np.float32],
    type: GGMLQuantizationType,
    output: NDArray[np.uint8],
    start: int,
    stop: int,
    importance: NDArray[np.float32] | None,
) -> None:
    source, result = rows[start:stop], output[start:stop]
    # false for NaN too
    is_safe = max(source.max(), -source.min()) <= _SAFE_MAGNITUDE
    if not is_safe:
        _refuse_non_finite(source, start, "has a NaN or an infinity")
    ggml.quantize_chunk(type, source, result, importance)
    if not is_safe:
        with np.errstate(all="ignore"):
            read_back = quants.dequantize(result, type)
        _refuse_non_finite(read_back, start, f"has values too large for {type.name}")


def _refuse_non_finite(rows: NDArray[np.float32], first_row: int, complaint: str) -> None:
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise FormatError(f"row {first_row + int(bad.argmax())} {complaint}")
