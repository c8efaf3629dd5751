"""Other users of ONNX Runtime in the thread that calls gritlite."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from gritlite import GritLM
from gritlite.convert import convert

WIDTH = 64


def write_int8_product(folder):
    """A graph of one product, which is enough for another tile configuration."""
    matrix = np.random.default_rng(0).integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8)
    node = helper.make_node(
        "DynamicQuantizeMatMul",
        ["inputs", "matrix", "scale"],
        ["product"],
        domain="com.microsoft",
    )
    inputs, product = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [50, WIDTH])
        for name in ("inputs", "product")
    )
    constants = [
        numpy_helper.from_array(matrix, "matrix"),
        numpy_helper.from_array(np.array([1], np.float32), "scale"),
    ]
    graph = helper.make_graph([node], "product", [inputs], [product], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "product.onnx"
    )


def test_llama_computes_the_same_after_an_int8_product_in_the_same_thread(tiny_file, tmp_path):
    # it did not where both use AMX
    quantized = tmp_path / "quantized.gguf"
    convert(tiny_file("mistral"), quantized, "q8_0")
    write_int8_product(tmp_path)
    ids = np.arange(10, 60, dtype=np.int32)
    embeddings = np.random.default_rng(1).standard_normal((50, WIDTH), np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "product.onnx")
    with GritLM(quantized, threads=1) as model:
        opened = model.engine.open_pass(128, "bidirectional")
        before, _ = opened.run([ids], [0])
        (product,) = session.run(None, {"inputs": embeddings})
        after, _ = opened.run([ids], [0])
        opened.close()
    assert product.std() > 0
    np.testing.assert_array_equal(after, before)
