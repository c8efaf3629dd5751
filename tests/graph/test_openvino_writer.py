"""The graph that is written for OpenVINO: as blocks it holds the numbers of the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gritlite.convert import convert
from gritlite.graph.layers import write_layers
from gritlite.graph.network import Network, read_network
from gritlite.graph.openvino_package import new_core, ov
from gritlite.graph.openvino_writer import Form, OpenVinoWriter
from gritlite.graph.rotary import halves
from gritlite.graph.tensors import open_tensors
from gritlite.modelfile.header import read_header
from tests.graph.test_onnx_writer import dequantized
from tests.tiny import CASES, make_checkpoint
from tests.tiny_gptq import make_gptq

GRAPH = "graph.xml"
HEADS = {"attn_q": 4, "attn_k": 2}


def write_graph(file: Path, folder: Path, form: Form = "float32") -> Network:
    with open_tensors(read_header(file)) as tensors, (folder / "scratch").open("w+b") as scratch:
        network = read_network(tensors)
        writer = OpenVinoWriter(network, form, scratch)
        for _ in write_layers(network, tensors, writer):
            pass
        writer.save(folder / GRAPH)
    return network


def constants(folder: Path, type: str) -> list[np.ndarray]:
    """The matrices of the graph's constants of a type, unpacked by OpenVINO, as stored."""
    model = new_core().read_model(folder / GRAPH)
    return [
        node.get_data()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and node.get_element_type().to_string() == type
    ]


def products(folder: Path) -> list[np.ndarray]:
    """The matrices of the graph's products, computed by OpenVINO in float32."""
    model = new_core().read_model(folder / GRAPH)
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul":
            matrix = ov.Model([ov.opset15.result(node.input_value(1))], [], "matrix")
            compiled = new_core().compile_model(
                matrix, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
            )
            found.append(compiled({})[0].copy())
    return found


def expected(file: Path, *, interleaved: bool) -> dict[str, np.ndarray]:
    """The matrices of a file with the rows of queries and keys in halves, by name."""
    found = {}
    for name, matrix in dequantized(file).items():
        part = name.removesuffix(".weight").split(".")[-1]
        if part in HEADS and interleaved:
            heads = matrix.reshape(HEADS[part], -1, matrix.shape[1])
            matrix = heads[:, halves(heads.shape[1])].reshape(matrix.shape)
        if matrix.ndim == 2:
            found[name] = matrix
        for number, each in enumerate(matrix if matrix.ndim == 3 else ()):
            found[f"{name}.{number}"] = each
    return found


def assert_same_numbers(file: Path, folder: Path, *, interleaved: bool = True) -> None:
    write_graph(file, folder, "blocks")
    ours = products(folder)
    theirs = [
        matrix
        for name, matrix in expected(file, interleaved=interleaved).items()
        if name.startswith("blk.")
    ]
    assert len(ours) == len(theirs)
    for mine in ours:
        assert any(mine.shape == each.shape and np.array_equal(mine, each) for each in theirs)


@pytest.mark.parametrize("type", ["q8_0", "q4_0"])
@pytest.mark.parametrize("case", ["mistral", "qwen2", "llama-biases", "mixtral"])
def test_blocks_are_the_numbers_of_the_file(tmp_path, case, type):
    make_checkpoint(tmp_path / "checkpoint", case)
    convert(tmp_path / "checkpoint", tmp_path / "model.gguf", type)
    assert_same_numbers(tmp_path / "model.gguf", tmp_path, interleaved=case != "qwen2")
    assert constants(tmp_path, "i4" if type == "q4_0" else "i8")


def test_blocks_of_gptq_weights(tmp_path):
    gptq, _ = make_gptq(tmp_path)
    convert(gptq, tmp_path / "model.gguf", None)
    assert_same_numbers(tmp_path / "model.gguf", tmp_path)
    assert constants(tmp_path, "i4")


def test_weights_for_bfloat16_are_stored_as_float16(tiny_file: Callable[..., Path], tmp_path):
    file = tiny_file("mistral")
    write_graph(file, tmp_path, "bfloat16")
    theirs = [m for n, m in expected(file, interleaved=True).items() if n.startswith("blk.")]
    ours = products(tmp_path)
    assert len(ours) == len(theirs)
    for mine in ours:
        assert any(np.array_equal(mine, each.astype(np.float16)) for each in theirs)


@pytest.mark.parametrize("case", CASES)
def test_every_dimension_that_differs_between_passes_is_dynamic(
    tiny_file: Callable[..., Path], tmp_path, case
):
    network = write_graph(tiny_file(case), tmp_path)
    model = new_core().read_model(tmp_path / GRAPH)
    shapes = {each.any_name: str(each.partial_shape) for each in (*model.inputs, *model.outputs)}
    states = f"[?,{network.kv_heads},?,{network.head_width}]"
    assert shapes["embeddings"] == shapes["hidden"] == f"[?,?,{network.width}]"
    assert shapes["mask"] == "[?,1,?,?]"
    for layer in range(network.layers):
        for part in ("key", "value"):
            assert shapes[f"past.{layer}.{part}"] == shapes[f"new.{layer}.{part}"] == states
