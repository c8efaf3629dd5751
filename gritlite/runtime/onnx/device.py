"""Where ONNX Runtime computes: on the processor, or on the first GPU that CUDA sees.

The module does not know graphs.
"""

from dataclasses import dataclass

import numpy as np

from gritlite.errors import DeviceError, GritLiteError
from gritlite.runtime.compute_thread import ComputeThread
from gritlite.runtime.onnx import packages


@dataclass(frozen=True)
class Device:
    """A device as ONNX Runtime calls it.

    These are its execution provider, its memory, as arrays and as allocators name it, and the
    distribution that has the provider.
    """

    provider: str
    memory: str
    arena: str
    distribution: str


PROCESSOR = Device("CPUExecutionProvider", "cpu", "cpu:0", "onnxruntime")
GPU = Device("CUDAExecutionProvider", "cuda", "gpu:0", "onnxruntime-gpu")
_REMEDY = "or leave the layers on the processor (gpu_layers 0)"


def check_gpu() -> None:
    """Raise DeviceError, with what to do, if ONNX Runtime has no memory of a GPU to give.

    Raises MissingExtraError without ONNX Runtime.
    """
    onnxruntime = packages.load(packages.ONNX_RUNTIME, "onnx").onnxruntime
    if GPU.provider not in onnxruntime.get_available_providers():
        raise DeviceError(
            "this package of ONNX Runtime runs on no GPU: uninstall onnxruntime and run  "
            f'pip install "gritlite[onnx-gpu]", {_REMEDY}'
        )

    def allocate() -> None:
        onnxruntime.OrtValue.ortvalue_from_shape_and_type([1], np.float32, GPU.memory, 0)

    with ComputeThread("ONNX Runtime") as thread:
        try:
            thread.call(allocate)
        except GritLiteError:
            raise
        except Exception as error:  # ONNX Runtime's own errors share no other base
            raise unusable_gpu(str(error).strip()) from error


def unusable_gpu(reason: str) -> DeviceError:
    """Return the error about a GPU that ONNX Runtime's package for CUDA cannot use."""
    return DeviceError(
        f"ONNX Runtime cannot use a GPU ({reason}): install the driver, CUDA and cuDNN for its "
        f"version, {_REMEDY}"
    )
