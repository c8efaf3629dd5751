"""ONNX Runtime and llama.cpp in one process."""

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.graph.network import read_network
from gritlite.graph.tensors import open_tensors
from gritlite.modelfile.header import read_header
from gritlite.runtime.onnx.onnx_session import OnnxSession

WIDTH = 64


def write_int8_product(folder):
    """A graph of one product, which is enough for another tile configuration."""
    matrix = np.random.default_rng(0).integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8)
    node = helper.make_node(
        "DynamicQuantizeMatMul",
        ["embeddings", "matrix", "scale"],
        ["hidden"],
        domain="com.microsoft",
    )
    shape = ["batch", "tokens", WIDTH]
    inputs = [
        helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("last_positions", TensorProto.INT32, ["batch"]),
        helper.make_tensor_value_info("total_tokens", TensorProto.INT32, []),
    ]
    graph = helper.make_graph(
        [node],
        "product",
        inputs,
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(matrix, "matrix"),
            numpy_helper.from_array(np.array([1], np.float32), "scale"),
        ],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "embed.onnx")


def test_llama_computes_the_same_after_an_int8_pass(tiny_file, tmp_path):
    # fails only where both use AMX
    quantized = tmp_path / "quantized.gguf"
    convert(tiny_file("mistral"), quantized, "q8_0")
    write_int8_product(tmp_path)
    header = read_header(quantized)
    with open_tensors(header) as tensors:
        network = replace(read_network(tensors), layers=0)
    ids = np.arange(10, 60, dtype=np.int32)
    embeddings = np.random.default_rng(1).standard_normal((1, 50, WIDTH), np.float32)
    with GritLM(quantized, threads=1) as model:
        opened = model.engine.open_pass(128, "bidirectional")
        before, _ = opened.run([ids], [0])
        session = OnnxSession(tmp_path, network, threads=1)
        hidden, _ = session.run(embeddings, np.array([50], np.int32), "bidirectional")
        after, _ = opened.run([ids], [0])
        session.close()
        opened.close()
    assert hidden.std() > 0
    np.testing.assert_array_equal(after, before)
