"""ggml's quantizer, called in libggml-base."""

import functools
from collections.abc import Callable
from ctypes import c_bool, c_int, c_int64, c_size_t, c_void_p
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import UsageError
from gritlite.ggml_base import function


def prepare(type: GGMLQuantizationType) -> None:
    """Build the tables that `type` needs, before threads share them.

    Raises UsageError for a type that cannot be quantized without an importance
    matrix, and LibraryError if the library cannot be loaded.
    """
    if function("ggml_quantize_requires_imatrix", c_bool, c_int)(type):
        raise UsageError(f"{type.name} needs an importance matrix: choose another type")
    function("ggml_quantize_init", None, c_int)(type)


def quantize_chunk(
    type: GGMLQuantizationType, rows: NDArray[np.float32], output: NDArray[np.uint8]
) -> None:
    """Fill `output` [n, bytes per row] with `rows` [n, k] in `type`; both C-contiguous.

    ggml aborts the process on wrong shapes: the caller has checked that k is a
    whole number of blocks, that the sizes agree and that `prepare` was called.
    """
    count, length = rows.shape
    _quantize_chunk()(type, rows.ctypes.data, output.ctypes.data, 0, count, length, None)


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
    library.ggml_get_type_traits.argtypes = [ctypes.c_int]
    library.ggml_get_type_traits.restype = ctypes.POINTER(_TypeTraits)
