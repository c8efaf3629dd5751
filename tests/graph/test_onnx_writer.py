"""What is written is valid ONNX and, as blocks, holds the numbers of the file."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import gguf
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from gritlite.convert import convert
from gritlite.graph.matrix import Matrix
from gritlite.graph.network import read_network
from gritlite.graph.onnx_writer import OnnxWriter
from gritlite.graph.tensors import open_tensors
from gritlite.modelfile.header import read_header
from gritlite.runtime.onnx.onnx_files import pair_limit
from gritlite.runtime.onnx.onnx_session import GRAPHS
from tests.graph.write_graph import write_graph
from tests.tiny import CASES, make_checkpoint
from tests.tiny_gptq import make_gptq

FUSED = ("attn_q", "attn_k", "attn_v")
DENSE = (FUSED, ("attn_output",), ("ffn_gate",), ("ffn_up",), ("ffn_down",))


def dequantized(file: Path) -> dict[str, np.ndarray]:
    """All tensors of a file, by gguf's own code."""
    tensors = gguf.GGUFReader(file).tensors
    return {each.name: gguf.dequantize(each.data, each.tensor_type) for each in tensors}


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def block_matrices(folder: Path) -> list[np.ndarray]:
    """The float32 matrices of MatMulNBits nodes, as ONNX Runtime's ContribOperators.md has it."""
    model = onnx.load(folder / GRAPHS["causal"])
    tensors = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            named = attributes(node)
            stored, scales = (tensors[name] for name in node.input[1:3])
            bits = named["bits"]
            # each byte holds its first number in the low bits
            numbers = np.stack([stored >> shift & (2**bits - 1) for shift in range(0, 8, bits)], -1)
            shape = (named["N"], named["K"] // named["block_size"], named["block_size"])
            centred = numbers.reshape(shape).astype(np.float32) - 2 ** (bits - 1)
            matrix = centred * scales.reshape(shape[:2])[:, :, None]
            found.append(matrix.reshape(named["N"], named["K"]))
    return found


def layer_matrices(tensors: dict[str, np.ndarray], experts: int) -> list[np.ndarray]:
    """A file's matrices in the order of the graph."""
    found = []
    for layer in range(2):
        for parts in DENSE[:2]:
            joined = [tensors[f"blk.{layer}.{part}.weight"] for part in parts]
            found.append(np.concatenate(joined))
        if experts:
            stacks = [
                tensors[f"blk.{layer}.ffn_{part}_exps.weight"] for part in ("gate", "up", "down")
            ]
            found += chain.from_iterable(zip(*stacks, strict=True))
        else:
            found += [tensors[f"blk.{layer}.{part}.weight"] for (part,) in DENSE[2:]]
    return found


def assert_same_numbers(file: Path, folder: Path, experts: int = 0) -> None:
    write_graph(file, folder, "blocks")
    onnx.checker.check_model(folder / GRAPHS["causal"], full_check=True)
    ours, theirs = block_matrices(folder), layer_matrices(dequantized(file), experts)
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("form", ["float32", "blocks", "int8"])
@pytest.mark.parametrize("case", CASES)
def test_the_checker_accepts_both_graphs(tiny_file: Callable[..., Path], tmp_path, case, form):
    write_graph(tiny_file(case), tmp_path, form)
    for attention, name in GRAPHS.items():
        onnx.checker.check_model(tmp_path / name, full_check=True)
        nodes = onnx.load(tmp_path / name).graph.node
        known = [each for each in nodes if each.op_type == "GroupQueryAttention"]
        assert len(known) == 2
        assert {attributes(each)["causal"] for each in known} == {int(attention == "causal")}
        # the checker passes over domains that it does not know
        assert {each.domain for each in nodes} == {"", "com.microsoft"}


@pytest.mark.parametrize("type", ["q8_0", "q4_0"])
@pytest.mark.parametrize("case", ["mistral", "llama-biases", "mixtral"])
def test_blocks_are_the_numbers_of_the_file(tmp_path, case, type):
    make_checkpoint(tmp_path / "checkpoint", case)
    convert(tmp_path / "checkpoint", tmp_path / "model.gguf", type)
    assert_same_numbers(tmp_path / "model.gguf", tmp_path, 4 if case == "mixtral" else 0)


def test_blocks_of_gptq_weights(tmp_path):
    gptq, _ = make_gptq(tmp_path)
    convert(gptq, tmp_path / "model.gguf", None)
    types = {each.tensor_type.name for each in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert "Q4_0" in types
    assert_same_numbers(tmp_path / "model.gguf", tmp_path)


@pytest.mark.parametrize("type", ["f32", "f16", "bf16"])
def test_floats_are_not_rounded_to_blocks(tmp_path, type):
    make_checkpoint(tmp_path / "checkpoint")
    convert(tmp_path / "checkpoint", tmp_path / "model.gguf", type)
    write_graph(tmp_path / "model.gguf", tmp_path, "blocks")
    assert block_matrices(tmp_path) == []
    model = onnx.load(tmp_path / GRAPHS["causal"])
    tensors = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    products = [each for each in model.graph.node if each.op_type == "MatMul"]
    expected = layer_matrices(dequantized(tmp_path / "model.gguf"), 0)
    for node, theirs in zip(products, expected, strict=True):
        np.testing.assert_array_equal(tensors[node.input[1]].T, theirs)


def largest_error(file: Path, folder: Path, *, precise: bool) -> float:
    """The largest error of an int8 product in ONNX Runtime, by the rounding of its inputs."""
    folder.mkdir()
    with open_tensors(read_header(file)) as tensors:
        network = replace(read_network(tensors), layers=0)
        matrix = Matrix(tensors, ("blk.0.attn_output",), precise=precise)
        with (folder / "weights").open("wb") as weights:
            writer = OnnxWriter(network, "int8", weights, "weights", pair_limit=pair_limit())
            writer.finish(writer.linear(writer.embeddings(), matrix))
        writer.save(folder / "product.onnx", "causal")
        rounded = matrix.channels(pair_limit=pair_limit())
    x = np.random.default_rng(0).standard_normal((1, 40, network.width)).astype(np.float32)
    session = onnxruntime.InferenceSession(folder / "product.onnx")
    given = {"embeddings": x, "last_positions": np.zeros(1, np.int32), "total_tokens": np.int32(40)}
    needed = {each.name: np.asarray(given[each.name]) for each in session.get_inputs()}
    (found,) = session.run(None, needed)
    exact = x.astype(np.float64) @ (rounded.values * rounded.scales[:, None]).T
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def test_inputs_of_precise_products_are_rounded_to_16_bits(tiny_file, tmp_path):
    file = tiny_file("llama-tied")
    coarse = largest_error(file, tmp_path / "coarse", precise=False)
    fine = largest_error(file, tmp_path / "fine", precise=True)
    assert coarse > 1e-3
    assert fine < coarse / 100


def test_other_types_become_blocks_of_8_bits(tmp_path):
    make_checkpoint(tmp_path / "checkpoint", hidden=256, feed_forward=512)
    convert(tmp_path / "checkpoint", tmp_path / "model.gguf", "q4_k_m")
    write_graph(tmp_path / "model.gguf", tmp_path, "blocks")
    expected = layer_matrices(dequantized(tmp_path / "model.gguf"), 0)
    for mine, theirs in zip(block_matrices(tmp_path), expected, strict=True):
        stored = gguf.quantize(theirs, gguf.GGMLQuantizationType.Q8_0)
        rounded = gguf.dequantize(stored, gguf.GGMLQuantizationType.Q8_0)
        np.testing.assert_allclose(mine, rounded, atol=np.abs(rounded).max() / 127)
        assert np.abs(mine - rounded).mean() < 1e-6  # gguf and ggml round ties apart
