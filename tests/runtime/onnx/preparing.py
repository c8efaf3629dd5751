"""Graphs of tiny files, prepared in the cache of a test, and their passes."""

from pathlib import Path

import numpy as np

from gritlite.modelfile.header import read_header
from gritlite.prompt import Attention
from gritlite.runtime.engine import Engine, KeyValues
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import graph_cache
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.graph_cache import GraphFolder
from gritlite.runtime.onnx.opening import open_graph
from gritlite.runtime.onnx.preparation import prepare

SEQUENCES = [np.random.default_rng(n).integers(3, 400, n).astype(np.int32) for n in (23, 1, 7, 40)]
STARTS = [5, 0, 0, 39]
CAPACITY = 256
FLOAT32 = Form("onnx", "float32")


def prepared(path: Path, form: Form = FLOAT32, **options) -> GraphFolder:
    """The graph of a file."""
    return prepare(read_header(path), form, threads=1, **options)


def found(path: Path, form: Form = FLOAT32) -> GraphFolder | None:
    """The graph of a file that is in the cache."""
    return graph_cache.find(ModelIdentity(read_header(path)).fingerprint(), form)


def graph_states(
    path: Path, graph: GraphFolder, attention: Attention
) -> tuple[np.ndarray, list[KeyValues]]:
    """The hidden states, keys and values of SEQUENCES by a graph."""
    return states(open_graph(graph, read_header(path), threads=1), attention)


def states(engine: Engine, attention: Attention) -> tuple[np.ndarray, list[KeyValues]]:
    """The same by an engine, which is closed."""
    try:
        opened = engine.open_pass(CAPACITY, attention)
        try:
            return opened.run(SEQUENCES, STARTS, return_states=True)
        finally:
            opened.close()
    finally:
        engine.close()


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The cosine of each pair of rows."""
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (ours * theirs).sum(axis=1) / lengths
