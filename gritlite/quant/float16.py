"""float32 numbers as float16 and back, by ggml's own conversion where it can be had.

numpy converts number by number, which for a state of a thousand tokens takes as long as reading
a question; ggml's processor library uses the processor's instructions. Both round to nearest
even, so the numbers are the same.
"""

import functools
from collections.abc import Callable
from ctypes import c_int64, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import LibraryError
from gritlite.system.ggml_library import function

_Convert = Callable[[int, int, int], Any]  # addresses of source and target, and how many


def to_float16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """The nearest float16 numbers, in the same shape."""
    result = np.zeros(values.shape, np.float16)
    _fill(result, values, _of_ggml("ggml_cpu_fp32_to_fp16", np.float32, np.float16))
    return result


def to_float32(values: NDArray[np.float16]) -> NDArray[np.float32]:
    """The same numbers as float32, in the same shape."""
    result = np.zeros(values.shape, np.float32)
    _fill(result, values, _of_ggml("ggml_cpu_fp16_to_fp32", np.float16, np.float32))
    return result


def _fill(result: NDArray[Any], values: NDArray[Any], convert: _Convert | None) -> None:
    if convert is None:
        result[...] = values
        return
    values = np.require(values, requirements=["C", "A"])
    convert(values.ctypes.data, result.ctypes.data, values.size)


@functools.cache
def _of_ggml(name: str, source: type, target: type) -> _Convert | None:
    """ggml's conversion, None where the library lacks it or makes other numbers."""
    try:
        convert = function(name, None, c_void_p, c_void_p, c_int64, library="ggml-cpu")
    except LibraryError:
        return None
    values: NDArray[Any] = np.linspace(-3, 3, 100).astype(source)
    found: NDArray[Any] = np.zeros(values.shape, target)
    _fill(found, values, convert)
    return convert if np.array_equal(found, values.astype(target)) else None
