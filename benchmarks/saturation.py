"""Whether this processor's int8 products saturate, at several limits of a matrix's numbers.

    python benchmarks/saturation.py
    qemu-x86_64 -cpu Haswell .venv/bin/python benchmarks/saturation.py

ONNX Runtime multiplies unsigned bytes by signed ones. Processors with AVX2 or AVX-512 but
without VNNI add pairs of products in 16 bits; QEMU's user mode shows such a processor to
ONNX Runtime where there is none (Debian's package qemu-user, 7.2 or later, for AVX2; the limit
that is printed first stays that of the real one).
"""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from gritlite.runtime.onnx.onnx_files import FULL, REDUCED, int8_limit

_TOKENS, _INPUTS, _OUTPUTS = 16, 576, 64
_STEP = 255  # inputs of 0 to 1 are rounded to bytes by this factor


def largest_error(limit: int) -> float:
    """Return the largest error of a product of the largest numbers, relative to its largest."""
    random = np.random.default_rng(0)
    weights = random.choice([-limit, limit], (_INPUTS, _OUTPUTS)).astype(np.int8)
    weights[:, 0], weights[:, 1] = limit, -limit
    inputs = np.ones((_TOKENS, _INPUTS), np.float32)
    inputs[1:] = random.choice([0, 254 / _STEP, 1], (_TOKENS - 1, _INPUTS))
    (found,) = _session(weights).run(None, {"x": inputs})
    exact = np.rint(inputs * _STEP).astype(np.int64) @ weights.astype(np.int64) / _STEP
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def _session(weights: np.ndarray) -> onnxruntime.InferenceSession:
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
    print(f"the limit here is {int8_limit()}")
    for each in (REDUCED - 1, REDUCED, REDUCED + 1, 100, FULL):
        print(f"limit {each}: largest relative error {largest_error(each):.1e}")
