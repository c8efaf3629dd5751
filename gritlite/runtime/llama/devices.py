"""The GPUs that this build of ggml finds, and the backends it was built with.

Source: ggml's registry of backends and devices, ggml-backend.h. A GPU build registers its
backend on a machine without a GPU too, but without devices.
"""

from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass

from gritlite.system import ggml_library

_GPUS = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU
_CPU_BACKENDS = ("CPU", "BLAS", "AMX")

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
    """A GPU: llama.cpp's name such as CUDA0, the vendor's description, and memory in bytes."""

    name: str
    description: str
    memory_free: int
    memory_total: int


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that layers can run on, with their current free memory."""
    devices = map(_device, range(_device_count()))
    return tuple(_gpu(device) for device in devices if _type(device) in _GPUS)


def gpu_backends() -> tuple[str, ...]:
    """Return the build's GPU backends, such as CUDA, with or without a device here."""
    names = (_backend_name(_backend(number)).decode() for number in range(_backend_count()))
    return tuple(name for name in names if name not in _CPU_BACKENDS)


def _gpu(device: int) -> Gpu:
    free, total = c_size_t(), c_size_t()
    _memory(device, byref(free), byref(total))
    return Gpu(_name(device).decode(), _description(device).decode(), free.value, total.value)
