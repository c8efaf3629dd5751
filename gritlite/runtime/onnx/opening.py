"""Opens the graph engine over a graph in the cache."""

from gritlite.graph.network import Network, network_of
from gritlite.modelfile.header import GGUFFile
from gritlite.prompt import end_tokens
from gritlite.runtime.llama import LlamaVocabulary, Weights
from gritlite.runtime.onnx import packages
from gritlite.runtime.onnx.engine import GraphEngine
from gritlite.runtime.onnx.graph_cache import GraphFolder
from gritlite.runtime.onnx.session import Session


def open_graph(graph: GraphFolder, file: GGUFFile, *, threads: int) -> GraphEngine:
    """Open the graph of a file; no llama.cpp weights are loaded, only its vocabulary.

    Raises MissingExtraError without the runtime, FileError, ArchitectureError,
    FormatError for a vocabulary that llama.cpp rejects, LibraryError, and for a graph of a GPU
    DeviceError and OutOfMemoryError.
    """
    packages.version(graph.form.runtime)
    network = network_of(file)
    vocabulary = LlamaVocabulary(
        Weights(file.path, gpu_layers=0, vocab_only=True), end_tokens(file.metadata)
    )
    session = _session(graph, network, threads)
    return GraphEngine(file, vocabulary, session, graph.value_factors())


def _session(graph: GraphFolder, network: Network, threads: int) -> Session:
    if graph.form.runtime == "onnx":
        from gritlite.runtime.onnx.onnx_session import OnnxSession

        on_gpu = graph.form.on_gpu
        return OnnxSession(graph.path, network, threads=threads, on_gpu=on_gpu)
    from gritlite.runtime.onnx.openvino_session import OpenVinoSession

    return OpenVinoSession(graph.path, network, graph.form.numbers, threads=threads)
