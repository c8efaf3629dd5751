"""Compute graph nodes, as passed to the scheduler's callback.

It reads `struct ggml_tensor` of ggml.h and the operands of the layers' matrix products. The
module does not know what the values are for.
"""

import ctypes
import functools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import LibraryError
from gritlite.runtime.llama.library import ggml_backend_tensor_get
from gritlite.system import ggml_library

Number = TypeVar("Number", np.float32, np.int32)

_F32 = 0  # GGML_TYPE_F32
_EARLY_OPERATIONS = 64  # of enum ggml_op: both products are among the first


class Node(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h, up to and including its name."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
    )


@dataclass(frozen=True)
class MatrixInput:
    """The inputs that a layer's tensor is multiplied by in a pass.

    `inputs` is float32 [n, k], one row per token. A tensor of experts is a stack of `count`
    matrices, and `matrices`, int32 [n], is the index of each row's matrix; a token has one
    row per expert chosen for it.
    """

    tensor: str
    inputs: NDArray[np.float32]
    count: int
    matrices: NDArray[np.int32]


def name_of(address: int) -> bytes:
    """Return the name of the node at `address`."""
    return ctypes.string_at(address + Node.name.offset)


def is_layer_product(address: int) -> bool:
    """Return whether a node multiplies a layer's tensor by float32 inputs."""
    node = Node.from_address(address)
    if node.op not in _products() or not _weight_name(node.src[0]).startswith("blk."):
        return False
    return bool(Node.from_address(node.src[1]).type == _F32)


def matrix_input(address: int) -> MatrixInput:
    """Return the operands of the computed node at `address`, which `is_layer_product`."""
    node = Node.from_address(address)
    weight, inputs = node.src[0], _values(node.src[1], np.float32)
    count = int(Node.from_address(weight).ne[2])
    width = inputs.shape[-1]
    if _products()[node.op] == b"MUL_MAT":
        rows = inputs.reshape(-1, width)
        return MatrixInput(_weight_name(weight), rows, 1, np.zeros(len(rows), np.int32))
    chosen = _values(node.src[2], np.int32)[0, 0]  # [tokens, experts per token]
    # one row per token that its experts share, or one row per expert
    shape = (*chosen.shape, width)
    rows = np.broadcast_to(inputs[0], shape).reshape(-1, width)
    return MatrixInput(_weight_name(weight), rows, count, chosen.reshape(-1))


def _values(address: int, dtype: type[Number]) -> NDArray[Number]:
    """Return a copy of a node's values from any device, with dimensions in numpy's order."""
    node = Node.from_address(address)
    item = np.dtype(dtype).itemsize
    size = item + sum((n - 1) * step for n, step in zip(node.ne, node.nb, strict=True))
    buffer = np.empty(size, np.uint8)
    ggml_backend_tensor_get(address, buffer.ctypes.data, 0, size)
    return np.ndarray(node.ne[::-1], dtype, buffer, strides=node.nb[::-1])


def _weight_name(address: int | None) -> str:
    """Return a weight's name; the scheduler names its copy on another device CUDA0#name#0."""
    name = name_of(address).decode("utf-8", "replace") if address else ""
    return name.split("#")[1] if "#" in name else name


@functools.cache
def _products() -> dict[int, bytes]:
    """Return ggml's operation numbers of its two matrix products; they vary by version."""
    op_name = ggml_library.function("ggml_op_name", ctypes.c_char_p, ctypes.c_int)
    names = {number: op_name(number) for number in range(_EARLY_OPERATIONS)}
    found = {n: name for n, name in names.items() if name in (b"MUL_MAT", b"MUL_MAT_ID")}
    if len(found) != 2:
        raise LibraryError("ggml's matrix products were not found: reinstall llama-cpp-python")
    return found
