"""Writes graphs for tests as the engine's folders hold them, but not optimized."""

from collections.abc import Mapping
from pathlib import Path

from gritlite.graph.layers import write_layers
from gritlite.graph.network import Network, read_network
from gritlite.graph.onnx_writer import Form, OnnxWriter
from gritlite.graph.smoothing import SmoothedTensors
from gritlite.graph.tensors import Floats, open_tensors
from gritlite.modelfile.header import read_header
from gritlite.runtime.onnx.onnx_files import pair_limit
from gritlite.runtime.onnx.onnx_session import GRAPHS


def write_graph(
    file: Path,
    folder: Path,
    form: Form = "float32",
    *,
    maxima: Mapping[str, Floats] | None = None,
) -> Network:
    """Write both graphs of a GGUF file, smoothed by the maxima of its matrices' inputs."""
    folder.mkdir(exist_ok=True)
    with open_tensors(read_header(file)) as tensors, (folder / "weights.bin").open("wb") as weights:
        network = read_network(tensors)
        if maxima is not None:
            tensors = SmoothedTensors(tensors, network, maxima)
        writer = OnnxWriter(network, form, weights, "weights.bin", pair_limit=pair_limit())
        for _ in write_layers(network, tensors, writer):
            pass
        for attention, name in GRAPHS.items():
            writer.save(folder / name, attention)
    return network
