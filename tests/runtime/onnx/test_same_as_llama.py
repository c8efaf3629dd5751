"""The graph's hidden states, keys and values are those of llama.cpp's own passes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gritlite.convert import convert
from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.graph.onnx_writer import Form
from gritlite.graph.smoothing import SmoothedTensors
from gritlite.modelfile.header import read_header
from gritlite.prompt import Attention
from gritlite.runtime.engine import EmbeddingPass, KeyValues
from gritlite.runtime.llama.engine import LlamaEngine
from gritlite.runtime.onnx.embedding_pass import GraphPass, padded
from gritlite.runtime.onnx.input_maxima import measure_inputs
from gritlite.runtime.onnx.onnx_session import OnnxSession
from tests.graph.write_graph import write_graph
from tests.tiny import CASES, make_checkpoint

MODES: Sequence[Attention] = ("bidirectional", "causal")
SEQUENCES = [np.random.default_rng(n).integers(3, 400, n).astype(np.int32) for n in (23, 1, 7, 40)]
STARTS = [5, 0, 0, 39]
# llama.cpp keeps keys and values in float16
CLOSE = {"rtol": 1e-3, "atol": 3e-3}
CAPACITY = 512


def run(opened: EmbeddingPass) -> tuple[np.ndarray, list[KeyValues]]:
    """The hidden states, and the keys and values, of SEQUENCES."""
    try:
        return opened.run(SEQUENCES, STARTS, return_states=True)
    finally:
        opened.close()


def run_graph(file: Path, folder: Path, attention: Attention, form: Form = "float32", **options):
    """The same of a graph; one in float16 is run as a GPU runs it."""
    network = write_graph(file, folder, form, **options)
    session = OnnxSession(folder, network, threads=1, on_gpu=form == "float16")
    try:
        return run(
            GraphPass(session, TokenEmbeddings(read_header(file)), CAPACITY, attention, None)
        )
    finally:
        session.close()


def run_llama(file: Path, attention: Attention):
    """The same of llama.cpp."""
    engine = LlamaEngine(file, threads=1, gpu_layers=0)
    try:
        return run(engine.open_pass(CAPACITY, attention))
    finally:
        engine.close()


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (ours * theirs).sum(axis=1) / lengths


@pytest.mark.parametrize("attention", MODES)
@pytest.mark.parametrize("case", CASES)
def test_ragged_sequences(tiny_file: Callable[..., Path], tmp_path, case, attention):
    file = tiny_file(case)
    hidden, states = run_graph(file, tmp_path, attention)
    expected, expected_states = run_llama(file, attention)
    assert hidden.shape == expected.shape
    np.testing.assert_allclose(hidden, expected, **CLOSE)
    for ours, theirs, ids in zip(states, expected_states, SEQUENCES, strict=True):
        assert ours.tokens == theirs.tokens == len(ids)
        for mine, other in zip(
            (*ours.keys, *ours.values), (*theirs.keys, *theirs.values), strict=True
        ):
            assert mine.dtype == other.dtype == np.float16
            np.testing.assert_allclose(mine.astype(np.float32), other, **CLOSE)


def test_modes_differ(tiny_file: Callable[..., Path], tmp_path):
    file = tiny_file("mistral")
    bidirectional, causal = (run_graph(file, tmp_path, mode)[0] for mode in MODES)
    assert np.abs(bidirectional - causal).max() > 1


@pytest.mark.parametrize("case", ["mistral", "mixtral", "qwen2-yarn"])
def test_a_sequence_in_two_chunks(tiny_file: Callable[..., Path], tmp_path, case):
    file = tiny_file(case)
    network = write_graph(file, tmp_path)
    table = TokenEmbeddings(read_header(file))
    ids = SEQUENCES[3]
    first, second = ids[:29], ids[29:]
    session = OnnxSession(tmp_path, network, threads=1)
    past: list = []
    for chunk in (first, second):
        lengths = np.array([len(chunk)], np.int32)
        hidden, states = session.run(
            padded(table, [chunk]), lengths, "causal", past=past, return_states=True
        )
        past = states
    session.close()
    engine = LlamaEngine(file, threads=1, gpu_layers=0)
    opened = engine.open_pass(CAPACITY, "causal")
    expected, (kept,) = opened.run([ids], [len(first)], return_states=True)
    opened.close()
    engine.close()
    np.testing.assert_allclose(hidden[0], expected, **CLOSE)
    for layer, keys, values in zip(states, kept.keys, kept.values, strict=True):
        for ours, theirs in ((layer.keys, keys), (layer.values, values)):
            assert ours.shape[2] == len(second)
            np.testing.assert_allclose(ours[0].transpose(1, 0, 2), theirs[len(first) :], **CLOSE)


@pytest.mark.parametrize("attention", MODES)
@pytest.mark.parametrize("outliers", [None, 16])
@pytest.mark.parametrize("case", ["llama-biases", "mixtral"])
def test_int8(tiny_file: Callable[..., Path], tmp_path, monkeypatch, case, outliers, attention):
    """As it is, and smoothed with the largest inputs of ffn_down rounded by themselves."""
    file = tiny_file(case)
    maxima = None
    if outliers is not None:
        monkeypatch.setattr(SmoothedTensors, "outliers", outliers)
        maxima = measure_inputs(read_header(file), threads=1)
    hidden, _ = run_graph(file, tmp_path, attention, "int8", maxima=maxima)
    expected, _ = run_llama(file, attention)
    found = cosines(hidden, expected)
    # rounding changes the choice of experts of a few tokens
    assert np.quantile(found, 0.2) > 0.999
    assert np.abs(hidden - expected).max() > 0.01  # int8 is not float32


@pytest.mark.parametrize("type", ["q8_0", "q4_0", "q4_k_m", "f16"])
def test_blocks_of_quantized_files(tmp_path, type):
    make_checkpoint(tmp_path / "checkpoint", hidden=256, feed_forward=512)
    convert(tmp_path / "checkpoint", tmp_path / "model.gguf", type)
    hidden, _ = run_graph(tmp_path / "model.gguf", tmp_path, "bidirectional", "blocks")
    expected, _ = run_llama(tmp_path / "model.gguf", "bidirectional")
    assert cosines(hidden, expected).min() > 0.999


@pytest.mark.parametrize("attention", MODES)
@pytest.mark.parametrize("case", ["mistral", "llama-biases", "mixtral", "qwen2-yarn"])
def test_float16(gpu, tiny_file: Callable[..., Path], tmp_path, case, attention):
    """The form for GPUs, as the processor computes it."""
    file = tiny_file(case)
    hidden, states = run_graph(file, tmp_path, attention, "float16")
    expected, expected_states = run_llama(file, attention)
    found = cosines(hidden, expected)
    # float16 may change the choice of an expert
    assert np.quantile(found, 0.1) > 0.99999
    for ours, theirs in zip(states, expected_states, strict=True):
        assert {each.dtype for each in (*ours.keys, *ours.values)} == {np.dtype(np.float16)}
        for mine, other in ((ours.keys[0], theirs.keys[0]), (ours.values[0], theirs.values[0])):
            np.testing.assert_allclose(mine.astype(np.float32), other, atol=0.02)


@pytest.mark.parametrize(
    ("form", "type"),
    [
        ("float32", "f32"),
        ("int8", "f32"),
        ("blocks", "q8_0"),
        ("blocks", "q4_0"),
        ("float16", "f32"),
    ],
)
def test_experts_without_tokens(gpu, tmp_path, form, type):
    """A single token goes to two of four experts."""
    make_checkpoint(tmp_path / "checkpoint", "mixtral")
    file = tmp_path / "model.gguf"
    convert(tmp_path / "checkpoint", file, type)
    network = write_graph(file, tmp_path, form)
    session = OnnxSession(tmp_path, network, threads=1, on_gpu=form == "float16")
    engine = LlamaEngine(file, threads=1, gpu_layers=0)
    theirs = engine.open_pass(CAPACITY, "causal")
    ours = GraphPass(session, TokenEmbeddings(read_header(file)), CAPACITY, "causal", None)
    one = [np.array([99], np.int32)]
    hidden, expected = ours.run(one, [0])[0], theirs.run(one, [0])[0]
    theirs.close()
    engine.close()
    session.close()
    assert cosines(hidden, expected)[0] > 0.999
