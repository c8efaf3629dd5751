"""Vectors of the float16 graph in ONNX Runtime against those of llama.cpp on the processor.

The package `onnxruntime-gpu` is larger than what travels: without it nothing is done here.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from checks.comparing import least_cosine
from checks.models import shaped_file, tiny_file
from checks.parts import Task
from gritlite.errors import DeviceError
from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.modelfile.header import read_header
from gritlite.prompt import Attention
from gritlite.runtime.engine import EmbeddingPass, Tokens
from gritlite.runtime.llama import GpuLayers, LlamaEngine
from gritlite.runtime.onnx.embedding_pass import GraphPass
from gritlite.system.threads import default_threads

LEAST = 0.999
_LENGTHS = (200, 3, 64, 130)
_LAST_TOKEN = 400
_MODES: Sequence[Attention] = ("bidirectional", "causal")
_TIMED_LENGTH, _ROUNDS = 128, 3

Opener = Callable[[int, Attention], EmbeddingPass]


def run(task: Task) -> None:
    """Each architecture in both modes, and how fast the smaller model is."""
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            task.results.leave_out("the float16 graph", f"the package {package} is not there")
            return
    try:
        for case in task.size.cases:
            _vectors(task, case)
        _speed(task)
    except DeviceError as error:
        task.results.leave_out("the float16 graph", str(error))


def _vectors(task: Task, case: str) -> None:
    path = tiny_file(task.folder, case, "f32")
    sequences = [_tokens(length) for length in _LENGTHS]
    for attention in _MODES:
        means = [
            _means(opened(sum(_LENGTHS), attention), sequences)
            for opened in (_llama(task, path, 0), _graph(task, path))
        ]
        least = least_cosine(*means)
        name = f"{case} {attention}"
        task.results.check(name, least >= LEAST, least_cosine=least, wanted=LEAST)


def _speed(task: Task) -> None:
    """Passes of equally long sequences, turn about with llama.cpp on the same device."""
    name, tokens = next(iter(task.size.embed_tokens.items()))
    path = shaped_file(task.folder, name)
    sequences = [_tokens(_TIMED_LENGTH)] * max(tokens // _TIMED_LENGTH // 8, 1)
    count = _TIMED_LENGTH * len(sequences)
    layers: GpuLayers = "all" if task.results.device == "gpu" else 0
    passes = {
        "gritlite, the float16 graph": _graph(task, path)(count, "bidirectional"),
        "gritlite, llama.cpp": _llama(task, path, layers)(count, "bidirectional"),
    }
    best = dict.fromkeys(passes, float("inf"))
    for _ in range(_ROUNDS):
        for contender, opened in passes.items():
            start = time.perf_counter()
            opened.run(sequences, [0] * len(sequences))
            best[contender] = min(best[contender], time.perf_counter() - start)
    rates = {contender: count / seconds for contender, seconds in best.items()}
    task.results.measure(f"{name} passes of {count} tokens", tokens_a_second=rates)


def _tokens(length: int) -> Tokens:
    return np.random.default_rng(length).integers(3, _LAST_TOKEN, length).astype(np.int32)


def _means(opened: EmbeddingPass, sequences: Sequence[Tokens]) -> NDArray[np.float32]:
    """The mean hidden state of each sequence."""
    hidden, _ = opened.run(sequences, [0] * len(sequences))
    ends = np.cumsum([len(ids) for ids in sequences])[:-1]
    return np.stack([rows.mean(axis=0) for rows in np.split(hidden, ends)])


def _llama(task: Task, path: Path, layers: GpuLayers) -> Opener:
    threads = task.size.threads or default_threads()
    return LlamaEngine(path, threads=threads, gpu_layers=layers).open_pass


def _graph(task: Task, path: Path) -> Opener:
    from gritlite.runtime.onnx.onnx_session import OnnxSession
    from tests.graph.write_graph import write_graph

    folder = task.folder / "graph"
    shutil.rmtree(folder, ignore_errors=True)
    network = write_graph(path, folder, "float16")
    threads = task.size.threads or default_threads()
    session = OnnxSession(folder, network, threads=threads, on_gpu=task.results.device == "gpu")
    table = TokenEmbeddings(read_header(path))
    return lambda tokens, attention: GraphPass(session, table, tokens, attention, None)
