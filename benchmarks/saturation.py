"""Whether this processor's int8 products saturate, at several limits of neighbours' sums.

    python benchmarks/saturation.py
    qemu-x86_64 -cpu Haswell .venv/bin/python benchmarks/saturation.py

ONNX Runtime multiplies unsigned bytes by signed ones. Processors with AVX2 or AVX-512 but
without VNNI add the products of neighbours in 16 bits; QEMU's user mode shows such a processor
to ONNX Runtime where there is none (Debian's package qemu-user, 7.2 or later, for AVX2; the
limit that is printed first stays that of the real one).
"""

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gritlite.graph.rounding import PAIR_LIMIT
from gritlite.runtime.onnx.onnx_files import pair_limit

_LARGEST = 127
_TOKENS, _INPUTS, _OUTPUTS = 16, 576, 64
_STEP = 255  # inputs of 0 to 1 are rounded to bytes by this factor


def largest_error(limit: int) -> float:
    """Return the largest error of a product whose pairs sum to `limit`, relative to the largest."""
    random = np.random.default_rng(0)
    weights = extreme_weights(limit, random)
    inputs = np.ones((_TOKENS, _INPUTS), np.float32)
    inputs[1:] = random.choice([0, 254 / _STEP, 1], (_TOKENS - 1, _INPUTS))
    (found,) = _session(weights).run(None, {"x": inputs})
    exact = np.rint(inputs * _STEP).astype(np.int64) @ weights.astype(np.int64) / _STEP
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def extreme_weights(limit: int, random: np.random.Generator) -> NDArray[np.int8]:
    """Return weights, int8 [inputs, outputs], whose pairs of one sign sum to `limit`.

    In half of the outputs a pair's second number and the next pair's first are both the
    largest, so that sums of other pairs than those of 2i and 2i + 1 would show.
    """
    pairs, half = _INPUTS // 2, _OUTPUTS // 2
    first = random.integers(limit - _LARGEST, _LARGEST + 1, (pairs, _OUTPUTS))
    first[::2, :half], first[1::2, :half] = limit - _LARGEST, _LARGEST
    signs = np.where(np.arange(_OUTPUTS) % 2, 1, -1)
    both = np.stack([first, limit - first], axis=1) * signs
    return both.reshape(_INPUTS, _OUTPUTS).astype(np.int8)


def _session(weights: NDArray[np.int8]) -> onnxruntime.InferenceSession:
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.ones(_OUTPUTS, np.float32), "scales"),
    ]
    node = helper.make_node(
        "DynamicQuantizeMatMul", ["x", "weights", "scales"], ["y"], domain="com.microsoft"
    )
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [_TOKENS, width])]
        for name, width in (("x", _INPUTS), ("y", _OUTPUTS))
    )
    graph = helper.make_graph([node], "product", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


if __name__ == "__main__":
    print(f"the limit here is {pair_limit()}")
    for each in (PAIR_LIMIT - 1, PAIR_LIMIT, PAIR_LIMIT + 1, 180, 2 * _LARGEST):
        print(f"pairs of {each}: largest relative error {largest_error(each):.1e}")
