"""Bindings to ggml's quantizer and dequantizer in libggml-base, through ctypes."""

import functools
from collections.abc import Callable
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_void_p,
)
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import LibraryError
from gritlite.quant.types import block_bytes, block_size
from gritlite.system.ggml_library import function


def prepare(type: GGMLQuantizationType) -> None:
    """Build the lookup tables that `type` needs, before several threads use them.

    Raises LibraryError if the library cannot be loaded.
    """
    function("ggml_quantize_init", None, c_int)(type)


def quantize_chunk(
    type: GGMLQuantizationType,
    rows: NDArray[np.float32],
    output: NDArray[np.uint8],
    importance: NDArray[np.float32] | None,
) -> None:
    """Quantize `rows` [n, k] into `output` [n, bytes per row]; all arrays C-contiguous.

    `importance` [k] weights the columns. ggml aborts the process on wrong shapes, so
    the caller must ensure that k is a whole number of blocks, that the sizes agree and
    that `prepare` was called.
    """
    count, length = rows.shape
    weights = None if importance is None else importance.ctypes.data
    _quantize_chunk()(type, rows.ctypes.data, output.ctypes.data, 0, count, length, weights)


@functools.cache
def _quantize_chunk() -> Callable[..., Any]:
    return function(
        "ggml_quantize_chunk",
        c_size_t,
        c_int,  # type
        c_void_p,  # const float * src
        c_void_p,  # void * dst
        c_int64,  # start
        c_int64,  # nrows
        c_int64,  # n_per_row
        c_void_p,  # const float * imatrix
    )


def dequantize_chunk(
    type: GGMLQuantizationType, stored: NDArray[np.uint8], output: NDArray[np.float32]
) -> None:
    """Dequantize `stored` [n, bytes per row] into `output` [n, k]; both C-contiguous.

    The caller must ensure that the sizes agree. Raises LibraryError for a type that
    ggml cannot dequantize.
    """
    _to_float(type)(stored.ctypes.data, output.ctypes.data, output.size)


class _TypeTraits(Structure):
    """`struct ggml_type_traits` of ggml.h."""

    _fields_ = (
        ("type_name", c_char_p),
        ("blck_size", c_int64),
        ("blck_size_interleave", c_int64),
        ("type_size", c_size_t),
        ("is_quantized", c_bool),
        ("to_float", CFUNCTYPE(None, c_void_p, c_void_p, c_int64)),
        ("from_float_ref", c_void_p),
    )


@functools.cache
def _to_float(type: GGMLQuantizationType) -> Callable[[int, int, int], None]:
    traits = function("ggml_get_type_traits", POINTER(_TypeTraits), c_int)(type).contents
    # a library with another layout of the struct would be called at a wild address
    if (traits.blck_size, traits.type_size) != (block_size(type), block_bytes(type)):
        raise LibraryError(
            f"this ggml stores {type.name} in another layout: reinstall llama-cpp-python"
        )
    if not traits.to_float:
        raise LibraryError(f"ggml cannot dequantize {type.name}")
    to_float: Callable[[int, int, int], None] = traits.to_float
    return to_float
