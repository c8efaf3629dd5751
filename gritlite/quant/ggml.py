"""ggml's quantizer, taken from the libggml-base that ships inside llama_cpp.

The binding is ctypes, which releases the GIL during a call, and does not
import llama_cpp: that takes half a second and loads far more than is needed.
"""

import ctypes
import functools
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import LibraryError, UsageError

# the versioned name is what libllama links to: asking for the other one could map a second copy
_FILE_NAMES = {
    "darwin": ("libggml-base.0.dylib", "libggml-base.dylib", "libggml-base.so"),
    "win32": ("ggml-base.dll", "libggml-base.dll"),
}.get(sys.platform, ("libggml-base.so.0", "libggml-base.so"))


def prepare(type: GGMLQuantizationType) -> None:
    """Build the tables that `type` needs, before threads share them.

    Raises UsageError for a type that cannot be quantized without an importance
    matrix, and LibraryError if the library cannot be loaded.
    """
    library = _library()
    if library.ggml_quantize_requires_imatrix(type):
        raise UsageError(f"{type.name} needs an importance matrix: choose another type")
    library.ggml_quantize_init(type)


def quantize_chunk(
    type: GGMLQuantizationType, rows: NDArray[np.float32], output: NDArray[np.uint8]
) -> None:
    """Fill `output` [n, bytes per row] with `rows` [n, k] in `type`; both C-contiguous.

    ggml aborts the process on wrong shapes: the caller has checked that k is a
    whole number of blocks, that the sizes agree and that `prepare` was called.
    """
    count, length = rows.shape
    _library().ggml_quantize_chunk(
        type, rows.ctypes.data, output.ctypes.data, 0, count, length, None
    )


@functools.cache
def _library() -> ctypes.CDLL:
    path = _find_library()
    if sys.platform == "win32":
        os.add_dll_directory(str(path.parent))
    try:
        library = ctypes.CDLL(str(path))
        _declare(library)
    except (OSError, AttributeError) as error:
        raise LibraryError(f"{path} cannot be used: {error}; reinstall llama-cpp-python") from error
    return library


def _find_library() -> Path:
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise LibraryError("llama-cpp-python is not installed: run  pip install llama-cpp-python")
    # llama_cpp honours the same variable
    folder = Path(os.environ.get("LLAMA_CPP_LIB_PATH", Path(spec.origin).parent / "lib"))
    for name in _FILE_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise LibraryError(f"no libggml-base in {folder}: reinstall llama-cpp-python")


def _declare(library: ctypes.CDLL) -> None:
    # ggml.h
    library.ggml_quantize_requires_imatrix.argtypes = [ctypes.c_int]
    library.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    library.ggml_quantize_init.argtypes = [ctypes.c_int]
    library.ggml_quantize_init.restype = None
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,  # type
        ctypes.c_void_p,  # const float * src
        ctypes.c_void_p,  # void * dst
        ctypes.c_int64,  # start
        ctypes.c_int64,  # nrows
        ctypes.c_int64,  # n_per_row
        ctypes.c_void_p,  # const float * imatrix
    ]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
