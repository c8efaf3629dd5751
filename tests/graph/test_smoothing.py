"""Smoothing moves numbers between tensors, and changes no output but for rounding."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.graph.network import read_network
from gritlite.graph.smoothing import SmoothedTensors
from gritlite.graph.tensors import open_tensors
from gritlite.modelfile.header import read_header
from gritlite.runtime.onnx.embedding_pass import GraphPass
from gritlite.runtime.onnx.onnx_session import OnnxSession
from tests.graph.write_graph import write_graph

IDS = np.random.default_rng(4).integers(3, 400, 30).astype(np.int32)


def some_maxima(file: Path) -> dict[str, np.ndarray]:
    """Largest inputs of every matrix of a file, as if measured."""
    random = np.random.default_rng(3)
    found = {}
    for info in read_header(file).tensors:
        if info.name.startswith("blk.") and len(info.shape) > 1:
            shape = (*info.shape[:-2], info.shape[-1])
            found[info.name.removesuffix(".weight")] = np.exp(random.normal(0, 2, shape))
    return {name: values.astype(np.float32) for name, values in found.items()}


def hidden(file: Path, folder: Path, maxima: dict[str, np.ndarray] | None) -> np.ndarray:
    session = OnnxSession(folder, write_graph(file, folder, maxima=maxima), threads=1)
    table = TokenEmbeddings(read_header(file))
    rows, _ = GraphPass(session, table, 64, "bidirectional", None).run([IDS], [0])
    session.close()
    return rows


@pytest.mark.parametrize("case", ["mistral", "llama-biases", "mixtral", "qwen2"])
def test_outputs_stay(tiny_file: Callable[..., Path], tmp_path, case):
    file = tiny_file(case)
    plain, smoothed = (hidden(file, tmp_path, each) for each in (None, some_maxima(file)))
    np.testing.assert_allclose(smoothed, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", ["mistral", "mixtral"])
def test_one_expert_is_a_slice_of_its_stack(tiny_file: Callable[..., Path], case):
    file = read_header(tiny_file(case))
    with open_tensors(file) as tensors:
        network = read_network(tensors)
        maxima = some_maxima(tiny_file(case))
        smoothed = SmoothedTensors(tensors, network, maxima)
        changed = 0
        for info in file.tensors:
            whole = smoothed.floats(info.name)
            changed += not np.array_equal(whole, tensors.floats(info.name))
            for expert in range(network.experts if len(info.shape) == 3 else 0):
                np.testing.assert_array_equal(smoothed.floats(info.name, expert), whole[expert])
    assert changed > 10
