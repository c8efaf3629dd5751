"""OpenVINO's hidden states, keys and values are those of llama.cpp's own passes."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gritlite.convert import convert
from gritlite.errors import CancelledError, ClosedError, LibraryError
from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.graph.network import Network, read_network
from gritlite.graph.openvino_writer import Form as Numbers
from gritlite.graph.tensors import open_tensors
from gritlite.modelfile.header import read_header
from gritlite.prompt import Attention
from gritlite.runtime.llama.engine import LlamaEngine
from gritlite.runtime.onnx.embedding_pass import GraphPass, padded
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.opening import open_graph
from gritlite.runtime.onnx.openvino_files import write_files
from gritlite.runtime.onnx.openvino_session import GRAPH, OpenVinoSession
from gritlite.runtime.onnx.session import LayerStates, Memory
from tests.runtime.onnx.preparing import found, prepared
from tests.runtime.onnx.test_same_as_llama import (
    CAPACITY,
    CLOSE,
    MODES,
    SEQUENCES,
    cosines,
    run,
    run_llama,
)
from tests.sent_signals import signal_in
from tests.tiny import CASES, make_checkpoint

LONG = (400, 1000)  # sequences and tokens: seconds of work


def write_graph(file: Path, folder: Path, form: Numbers = "float32") -> Network:
    folder.mkdir(exist_ok=True)
    with open_tensors(read_header(file)) as tensors:
        network = read_network(tensors)
        write_files(folder, network, tensors, form, threads=1, written=[].append)
    return network


def run_graph(file: Path, folder: Path, attention: Attention, form: Numbers = "float32"):
    """The hidden states, and the keys and values, of SEQUENCES."""
    session = OpenVinoSession(folder, write_graph(file, folder, form), form, threads=1)
    try:
        return run(
            GraphPass(session, TokenEmbeddings(read_header(file)), CAPACITY, attention, None)
        )
    finally:
        session.close()


def joined(before: LayerStates, new: LayerStates) -> LayerStates:
    """The states of a sequence and of its next tokens."""
    return LayerStates(
        np.concatenate([before.keys, new.keys], axis=2),
        np.concatenate([before.values, new.values], axis=2),
    )


def inputs(batch: int, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.standard_normal((batch, tokens, 64), np.float32), np.full(batch, tokens, np.int32)


@pytest.fixture(scope="module")
def session(tiny_file: Callable[..., Path], tmp_path_factory) -> Iterator[OpenVinoSession]:
    folder = tmp_path_factory.mktemp("graph")
    opened = OpenVinoSession(
        folder, write_graph(tiny_file("llama-tied"), folder), "float32", threads=2
    )
    yield opened
    opened.close()


@pytest.mark.parametrize("attention", MODES)
@pytest.mark.parametrize("case", CASES)
def test_ragged_sequences(tiny_file: Callable[..., Path], tmp_path, case, attention):
    file = tiny_file(case)
    hidden, states = run_graph(file, tmp_path, attention)
    expected, expected_states = run_llama(file, attention)
    np.testing.assert_allclose(hidden, expected, **CLOSE)
    for ours, theirs, ids in zip(states, expected_states, SEQUENCES, strict=True):
        assert ours.tokens == theirs.tokens == len(ids)
        pairs = zip((*ours.keys, *ours.values), (*theirs.keys, *theirs.values), strict=True)
        for mine, other in pairs:
            np.testing.assert_allclose(mine.astype(np.float32), other, **CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_a_sequence_in_three_chunks(tiny_file: Callable[..., Path], tmp_path, case):
    file = tiny_file(case)
    session = OpenVinoSession(tmp_path, write_graph(file, tmp_path), "float32", threads=1)
    table = TokenEmbeddings(read_header(file))
    ids, past, outputs = SEQUENCES[3], [], []
    for chunk in (ids[:11], ids[11:12], ids[12:]):
        lengths = np.array([len(chunk)], np.int32)
        hidden, states = session.run(
            padded(table, [chunk]), lengths, "causal", past=past, return_states=True
        )
        outputs.append(hidden[0])
        past = [joined(*each) for each in zip(past, states, strict=True)] if past else states
    session.close()
    engine = LlamaEngine(file, threads=1, gpu_layers=0)
    opened = engine.open_pass(CAPACITY, "causal")
    expected, (kept,) = opened.run([ids], [0], return_states=True)
    opened.close()
    engine.close()
    np.testing.assert_allclose(np.concatenate(outputs), expected, **CLOSE)
    for layer, keys, values in zip(past, kept.keys, kept.values, strict=True):
        np.testing.assert_allclose(layer.keys[0].transpose(1, 0, 2), keys, **CLOSE)
        np.testing.assert_allclose(layer.values[0].transpose(1, 0, 2), values, **CLOSE)


@pytest.mark.parametrize("case", ["mistral", "qwen2"])
def test_a_memory_is_extended(tiny_file: Callable[..., Path], tmp_path, case):
    file = tiny_file(case)
    network = write_graph(file, tmp_path)
    session = OpenVinoSession(tmp_path, network, "float32", threads=1)
    embeddings = padded(TokenEmbeddings(read_header(file)), SEQUENCES[3:])
    count = embeddings.shape[1]
    _, expected = session.run(embeddings, np.array([count], np.int32), "causal", return_states=True)
    shape = (1, network.kv_heads, count + 3, network.head_width)
    memory = Memory(
        tuple(
            LayerStates(np.full(shape, 9, np.float32), np.full(shape, 9, np.float32))
            for _ in range(network.layers)
        )
    )
    for first, last in ((0, 30), (30, 31), (31, count)):
        session.extend(embeddings[:, first:last], memory)
        assert memory.tokens == last
    session.close()
    for ours, theirs in zip(memory.layers, expected, strict=True):
        for mine, other in ((ours.keys, theirs.keys), (ours.values, theirs.values)):
            np.testing.assert_allclose(mine[:, :, :count], other, rtol=1e-4, atol=1e-4)
            assert (mine[:, :, count:] == 9).all()


@pytest.mark.parametrize("attention", MODES)
@pytest.mark.parametrize("case", ["mistral", "mixtral"])
def test_padding_is_finite_and_changes_nothing(
    tiny_file: Callable[..., Path], tmp_path, case, attention
):
    file = tiny_file(case)
    session = OpenVinoSession(tmp_path, write_graph(file, tmp_path), "float32", threads=1)
    embeddings = padded(TokenEmbeddings(read_header(file)), SEQUENCES)
    lengths = np.array([len(ids) for ids in SEQUENCES], np.int32)
    hidden, layers = session.run(embeddings, lengths, attention, return_states=True)
    assert np.isfinite(hidden).all()
    assert all(np.isfinite(each.keys).all() and np.isfinite(each.values).all() for each in layers)
    for number, length in enumerate(lengths):
        alone, _ = session.run(
            embeddings[number : number + 1, :length], lengths[number : number + 1], attention
        )
        np.testing.assert_allclose(hidden[number, :length], alone[0], rtol=1e-4, atol=1e-4)
    session.close()


@pytest.mark.parametrize("type", ["q8_0", "q4_0", "q4_k_m", "f16"])
def test_blocks_of_quantized_files(tmp_path, type):
    make_checkpoint(tmp_path / "checkpoint", hidden=256, feed_forward=512)
    convert(tmp_path / "checkpoint", tmp_path / "model.gguf", type)
    hidden, _ = run_graph(tmp_path / "model.gguf", tmp_path, "bidirectional", "blocks")
    expected, _ = run_llama(tmp_path / "model.gguf", "bidirectional")
    assert cosines(hidden, expected).min() > 0.999


def test_bfloat16(tiny_file: Callable[..., Path], tmp_path):
    file = tiny_file("llama-biases")
    hidden, _ = run_graph(file, tmp_path, "causal", "bfloat16")
    expected, _ = run_llama(file, "causal")
    assert cosines(hidden, expected).min() > 0.9995
    assert np.abs(hidden - expected).max() > 1e-3  # bfloat16 is not float32


def test_a_single_token_of_experts(tiny_file: Callable[..., Path], tmp_path):
    """It goes to two of four experts: the others have no tokens."""
    file = tiny_file("mixtral")
    session = OpenVinoSession(tmp_path, write_graph(file, tmp_path, "blocks"), "blocks", threads=1)
    embeddings = padded(TokenEmbeddings(read_header(file)), [np.array([99], np.int32)])
    hidden, _ = session.run(embeddings, np.array([1], np.int32), "causal")
    session.close()
    engine = LlamaEngine(file, threads=1, gpu_layers=0)
    opened = engine.open_pass(CAPACITY, "causal")
    expected, _ = opened.run([np.array([99], np.int32)], [0])
    opened.close()
    engine.close()
    assert cosines(hidden[0], expected)[0] > 0.999


def test_llama_computes_the_same_after_a_pass(tiny_file: Callable[..., Path], tmp_path):
    """Both use AMX where the processor has it."""
    quantized = tmp_path / "quantized.gguf"
    convert(tiny_file("mistral"), quantized, "q8_0")
    session = OpenVinoSession(
        tmp_path, write_graph(quantized, tmp_path, "bfloat16"), "bfloat16", threads=1
    )
    engine = LlamaEngine(quantized, threads=1, gpu_layers=0)
    opened = engine.open_pass(CAPACITY, "bidirectional")
    before, _ = opened.run(SEQUENCES, [0] * 4)
    session.run(*inputs(1, 50), "bidirectional")
    after, _ = opened.run(SEQUENCES, [0] * 4)
    opened.close()
    engine.close()
    session.close()
    np.testing.assert_array_equal(after, before)


def test_a_cancelled_pass_ends_and_the_next_is_as_ever(session: OpenVinoSession) -> None:
    expected, _ = session.run(*inputs(2, 50), "bidirectional")
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(CancelledError):  # it ended with an error, so it was not finished
        session.run(*inputs(*LONG), "bidirectional", cancel=cancel)
    found, _ = session.run(*inputs(2, 50), "bidirectional", cancel=threading.Event())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_ctrl_c_ends_a_pass(session: OpenVinoSession) -> None:
    with pytest.raises(KeyboardInterrupt), signal_in(0.2):
        session.run(*inputs(*LONG), "bidirectional")
    session.run(*inputs(1, 8), "bidirectional")


def test_no_thread_spins_between_passes(session: OpenVinoSession) -> None:
    session.run(*inputs(8, 100), "bidirectional")
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.1  # two spinning threads would take 2 seconds


def test_a_closed_session(tiny_file: Callable[..., Path], tmp_path):
    opened = OpenVinoSession(
        tmp_path, write_graph(tiny_file("mistral"), tmp_path), "float32", threads=1
    )
    opened.close()
    with pytest.raises(ClosedError):
        opened.run(*inputs(1, 8), "causal")


def test_a_damaged_graph(tiny_file: Callable[..., Path], tmp_path):
    network = write_graph(tiny_file("mistral"), tmp_path)
    (tmp_path / GRAPH).write_bytes(b"no graph")
    with pytest.raises(LibraryError, match="OpenVINO failed"):
        OpenVinoSession(tmp_path, network, "float32", threads=1)


@pytest.mark.parametrize("numbers", ["blocks", "float32"])
def test_a_graph_in_the_cache(tiny_file: Callable[..., Path], cache_folder, numbers):
    file, form = tiny_file("llama-biases"), Form("openvino", numbers)
    graph = prepared(file, form)
    assert list(graph.sizes) == [GRAPH]
    assert found(file, form) == graph
    engine = open_graph(graph, read_header(file), threads=1)
    ours, _ = run(engine.open_pass(CAPACITY, "bidirectional"))
    engine.close()
    expected, _ = run_llama(file, "bidirectional")
    assert cosines(ours, expected).min() > 0.999
