"""The llama.cpp library: loading, its log, and the capabilities of the build.

`C` is llama-cpp-python's plain binding (one Python function per C function).
The high-level class `llama_cpp.Llama` is not used anywhere.
"""

import sys
from collections import deque
from ctypes import c_char_p, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Any

from gritlite.errors import LibraryError
from gritlite.runtime.llama.devices import Gpu, gpu_backends, gpus
from gritlite.system import ggml_library
from gritlite.system.wording import printable

try:
    import llama_cpp
    import llama_cpp.llama_cpp as bindings
except (ImportError, OSError, RuntimeError) as error:
    raise LibraryError(
        f"llama-cpp-python cannot be loaded ({error}): reinstall it with "
        "`pip install --force-reinstall --no-cache-dir llama-cpp-python`"
    ) from error

C: Any = bindings
ggml_backend_tensor_get = ggml_library.function(
    "ggml_backend_tensor_get",
    None,
    c_void_p,  # const struct ggml_tensor * tensor
    c_void_p,  # void * data
    c_size_t,  # offset
    c_size_t,  # size
)
_ggml_commit = ggml_library.function("ggml_commit", c_char_p)

_WARN, _ERROR, _CONTINUE = 3, 4, 5  # ggml_log_level of ggml.h
_ALLOCATION_FAILURES = (
    "failed to allocate",
    "unable to allocate",
    "std::bad_alloc",
    "Cannot allocate memory",
)
_verbose = False
_last_level = 0
_recent: deque[str] = deque(maxlen=8)


@C.llama_log_callback  # type: ignore[untyped-decorator]
def _log(level: int, text: bytes, _data: Any) -> None:
    global _last_level
    level = _last_level if level == _CONTINUE else level
    _last_level = level
    message = text.decode("utf-8", "replace")
    if level in (_WARN, _ERROR) and message.strip(". \n"):
        _recent.append(printable(message.strip()))
    if _verbose:
        sys.stderr.write(message)


C.llama_log_set(_log, None)
C.llama_backend_init()


def set_verbose(verbose: bool) -> None:
    """Write llama.cpp's log to standard error, or silence it (the default)."""
    global _verbose
    _verbose = verbose


def clear_messages() -> None:
    """Clear the recent warnings and errors, before a call that may fail.

    Listens again, in case another user of llama.cpp in this process has taken its log.
    """
    C.llama_log_set(_log, None)
    _recent.clear()


def last_message() -> str:
    """Return llama.cpp's warnings and errors since `clear_messages`, for an error message."""
    return "; ".join(_recent) or "llama.cpp gave no reason"


def is_allocation_failure(message: str) -> bool:
    """Return whether a message of llama.cpp reports a failed allocation."""
    return any(words in message for words in _ALLOCATION_FAILURES)


@dataclass(frozen=True)
class Capabilities:
    """The capabilities of this build of llama.cpp on this machine.

    `version` is llama-cpp-python's; `build` adds llama.cpp's commit. `gpu` says whether
    layers can run on a GPU; a build with `gpu_backends` may find no `gpus`.
    """

    version: str
    build: str
    gpu: bool
    gpus: tuple[Gpu, ...]
    gpu_backends: tuple[str, ...]
    mmap: bool
    features: tuple[str, ...]  # instruction sets and options that are compiled in and available


def capabilities() -> Capabilities:
    """Return the capabilities of the loaded library."""
    info = C.llama_print_system_info().decode("utf-8", "replace")
    parts = (part.split(":")[-1].strip() for part in info.split("|"))
    return Capabilities(
        version=llama_cpp.__version__,
        build=f"{llama_cpp.__version__} {_ggml_commit().decode()}",
        gpu=bool(C.llama_supports_gpu_offload()),
        gpus=gpus(),
        gpu_backends=gpu_backends(),
        mmap=bool(C.llama_supports_mmap()),
        features=tuple(part.split(" = ")[0] for part in parts if part.endswith("= 1")),
    )
