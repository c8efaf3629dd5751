"""The GPUs that this build of ggml sees, and what it was built for.

ggml's registry of backends and their devices, ggml-backend.h. A build for a GPU
registers its backend on a machine without one too, then with no devices.
"""

from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass

from gritlite.system import ggml_library

_GPUS = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU
_ON_PROCESSORS = ("CPU", "BLAS", "AMX")

_backend_count = ggml_library.function("ggml_backend_reg_count", c_size_t, library="ggml")
_backend = ggml_library.function("ggml_backend_reg_get", c_void_p, c_size_t, library="ggml")
_backend_name = ggml_library.function("ggml_backend_reg_name", c_char_p, c_void_p)
_device_count = ggml_library.function("ggml_backend_dev_count", c_size_t, library="ggml")
_device = ggml_library.function("ggml_backend_dev_get", c_void_p, c_size_t, library="ggml")
_type = ggml_library.function("ggml_backend_dev_type", c_int, c_void_p)
_name = ggml_library.function("ggml_backend_dev_name", c_char_p, c_void_p)
_description = ggml_library.function("ggml_backend_dev_description", c_char_p, c_void_p)
_memory = ggml_library.function(
    "ggml_backend_dev_memory",
    None,
    c_void_p,  # ggml_backend_dev_t device
    POINTER(c_size_t),  # size_t * free
    POINTER(c_size_t),  # size_t * total
)


@dataclass(frozen=True)
class Gpu:
    """A GPU: llama.cpp's name for it, such as CUDA0, its maker's, and its memory in bytes."""

    name: str
    description: str
    memory_free: int
    memory_total: int


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that layers can be put on, as they are now."""
    devices = map(_device, range(_device_count()))
    return tuple(_gpu(device) for device in devices if _type(device) in _GPUS)


def gpu_backends() -> tuple[str, ...]:
    """What the build could run on besides processors, such as CUDA, found here or not."""
    names = (_backend_name(_backend(number)).decode() for number in range(_backend_count()))
    return tuple(name for name in names if name not in _ON_PROCESSORS)


def _gpu(device: int) -> Gpu:
    free, total = c_size_t(), c_size_t()
    _memory(device, byref(free), byref(total))
    return Gpu(_name(device).decode(), _description(device).decode(), free.value, total.value)
