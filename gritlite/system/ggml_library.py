"""The ggml libraries that ship with llama_cpp: finding them and calling their functions.

They are loaded with ctypes, which releases the GIL during a call. llama_cpp itself is not
imported: that takes half a second and loads far more than is needed. The module does not
know what the functions do.
"""

import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gritlite.errors import LibraryError
from gritlite.system import environment

# libllama links to the versioned name; any other name would map a second copy
_FILE_NAMES = {
    "darwin": ("lib{}.0.dylib", "lib{}.dylib", "lib{}.so"),
    "win32": ("{}.dll", "lib{}.dll"),
}.get(sys.platform, ("lib{}.so.0", "lib{}.so"))

_SPINS = "300"  # docs/speed.md, "Threads that wait"
_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # how the user may say otherwise


def function(
    name: str, result: Any, *arguments: Any, library: str = "ggml-base"
) -> Callable[..., Any]:
    """A C function of a library, with the ctypes types of its result and arguments.

    Raises LibraryError if the library is missing or cannot be used.
    """
    path = _find(library)
    try:
        found = _load(path)[name]  # a new object for each call, so that callers do not share types
    except OSError as error:  # its text names another library that is missing, for example
        raise LibraryError(
            f"{path} cannot be loaded: {error}; install what it needs, or reinstall "
            "llama-cpp-python"
        ) from error
    except AttributeError as error:
        raise LibraryError(f"{path} cannot be used: {error}; reinstall llama-cpp-python") from error
    found.restype, found.argtypes = result, arguments
    return found


def library_folder() -> Path:
    """The folder of llama_cpp's libraries. Raises LibraryError if it is not installed."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise LibraryError("llama-cpp-python is not installed: run  pip install llama-cpp-python")
    # llama_cpp honours the same variable
    return Path(os.environ.get("LLAMA_CPP_LIB_PATH") or Path(spec.origin).parent / "lib")


def _find(library: str) -> Path:
    folder = library_folder()
    for name in _FILE_NAMES:
        path = folder / name.format(library)
        if path.is_file():
            return path
    raise LibraryError(f"no lib{library} in {folder}: reinstall llama-cpp-python")


@functools.cache
def _load(path: Path) -> ctypes.CDLL:
    if sys.platform == "win32":
        os.add_dll_directory(str(path.parent))
    with _little_spinning():
        return ctypes.CDLL(str(path))


def _little_spinning() -> contextlib.AbstractContextManager[None]:
    """Make threads that wait for each other sleep after a few microseconds of spinning.

    It holds for GNU's OpenMP, which reads the variable when the first ggml library loads it.
    """
    if any(name in os.environ for name in _WAITING):
        return contextlib.nullcontext()
    return environment.variable("GOMP_SPINCOUNT", _SPINS)
