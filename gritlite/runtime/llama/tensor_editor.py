"""Replaces loaded weights in place, to measure the effect.

llama.cpp has no function that lists a model's tensors, but its graphs point to them: the
scheduler calls back with every node before it computes it.
"""

import ctypes

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import UsageError
from gritlite.runtime.llama.context import Batch, Context, ContextOptions
from gritlite.runtime.llama.graph import Node, name_of
from gritlite.runtime.llama.weights import Weights
from gritlite.system import ggml_library

_ggml_backend_tensor_set = ggml_library.function(
    "ggml_backend_tensor_set",
    None,
    ctypes.c_void_p,  # struct ggml_tensor * tensor
    ctypes.c_void_p,  # const void * data
    ctypes.c_size_t,  # offset
    ctypes.c_size_t,  # size
)


class TensorEditor:
    """Replaces tensors of `weights` that were loaded `editable`."""

    def __init__(self, weights: Weights) -> None:
        if not weights.editable:
            raise UsageError("these weights are mapped from their file: load them editable")
        # tied embeddings exist twice if the input's are on the CPU
        self._addresses: dict[str, set[int]] = {}
        options = ContextOptions(n_ctx=32, n_batch=1, threads=1)
        zero = np.zeros(1, np.int32)
        with Context(weights, options, show_nodes=self._note) as context:
            context.decode(Batch(zero, zero, zero, np.ones(1, np.bool_)))

    def _note(self, node: int) -> None:
        for address in filter(None, Node.from_address(node).src):
            name = name_of(address).decode("utf-8", "replace")
            if name.endswith(".weight"):
                self._addresses.setdefault(name, set()).add(address)

    def replace(self, tensor: str, data: NDArray[np.uint8]) -> None:
        """Replace all bytes of a tensor by `data`, in the tensor's own type.

        Raises UsageError for a tensor that no graph uses.
        """
        if tensor not in self._addresses:
            raise UsageError(f"the model does not use {tensor}")
        data = np.ascontiguousarray(data)
        for address in self._addresses[tensor]:
            _ggml_backend_tensor_set(address, data.ctypes.data, 0, data.nbytes)
