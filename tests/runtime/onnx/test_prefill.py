"""Prompts read by the graph engine and handed over to llama.cpp, beside llama.cpp's own reading."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import ClosedError
from gritlite.graph.network import read_network
from gritlite.graph.smoothing import smoothing_factors
from gritlite.graph.tensors import open_tensors
from gritlite.modelfile.header import read_header
from gritlite.runtime.answer import Answer
from gritlite.runtime.onnx.engine import GraphEngine
from gritlite.runtime.onnx.onnx_session import OnnxSession
from gritlite.runtime.onnx.openvino_session import OpenVinoSession
from gritlite.runtime.onnx.session import Session
from gritlite.runtime.options import GenerateOptions
from tests.graph.test_smoothing import some_maxima
from tests.graph.write_graph import write_graph
from tests.runtime.onnx.test_openvino_session import write_graph as write_openvino_graph
from tests.tiny import CASES

CLOSE = {"rtol": 2e-3, "atol": 5e-3}  # keys and values are float16
OPTIONS = GenerateOptions(max_tokens=8)
CONTEXT = 1024
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(3, 400, CONTEXT).tolist()


@dataclass(frozen=True)
class Reading:
    """The tokens of an answer, and the logits of each, float32 [tokens, vocabulary]."""

    logits: np.ndarray
    tokens: list[int]


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (ours * theirs).sum(axis=1) / lengths


def open_onnx(file: Path, folder: Path, **options) -> Session:
    return OnnxSession(folder, write_graph(file, folder, **options), threads=1)


def open_openvino(file: Path, folder: Path) -> Session:
    network = write_openvino_graph(file, folder)
    return OpenVinoSession(folder, network, "float32", threads=1)


@contextmanager
def reading(
    model: GritLM, folder: Path, factors=None, opened=open_onnx, **options
) -> Iterator[GraphEngine]:
    """Let a graph read the model's prompts, within the block."""
    session = opened(model.path, folder, **options)
    engine = GraphEngine(model.file, model.engine.vocabulary, session, factors)
    model._generator._prefill_engine = engine
    try:
        yield engine
    finally:
        model._generator._prefill_engine = None
        engine.close()


def answer(model: GritLM, ids: list[int], document=None, *, said=()) -> Reading:
    """Answer greedily; where something was `said`, repeat it."""
    found = Answer(model._generator, ids, OPTIONS, document=document)
    generator, sequence, rows = model._generator, found._sequence, []
    for number in range(OPTIONS.max_tokens):
        token = generator.next_token(sequence)
        rows.append(generator._decoders.members[0].logits(1)[0].copy())
        sequence.tokens.append(said[number] if said else token)
    generator.release(sequence)
    return Reading(np.stack(rows), sequence.tokens[len(ids) :])


def check_same(model: GritLM, ids: list[int], theirs: Reading, document=None) -> None:
    """Check the logits along an answer; so a greedy one departs only where two are as likely."""
    ours = answer(model, ids, document, said=theirs.tokens)
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-3, atol=0.05)
    assert cosines(ours.logits, theirs.logits).min() > 0.9999


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """The tokens of each part that a graph reads."""
    counts: list[int] = []
    extend = OnnxSession.extend

    def counting(self, embeddings, memory, cancel=None):
        counts.append(embeddings.shape[1])
        extend(self, embeddings, memory, cancel)

    monkeypatch.setattr(OnnxSession, "extend", counting)
    return counts


@pytest.mark.parametrize("case", CASES)
def test_answers_and_logits(tiny_file, tmp_path, counted, case):
    prompts = (IDS[:600], IDS[:700], [*IDS[:300], *IDS[700:]])  # long, longer, edited
    with GritLM(tiny_file(case), threads=1) as model:
        alone = [answer(model, ids) for ids in prompts]
        model.clear_cache()
        with reading(model, tmp_path):
            for ids, theirs in zip(prompts, alone, strict=True):
                check_same(model, ids, theirs)
    assert counted == [256, 256, 87, 256, 67]  # 100 more tokens are too few


@pytest.mark.parametrize("case", ["mistral", "llama-biases", "qwen2-yarn"])
def test_by_openvino(tiny_file, tmp_path, case):
    prompts = (IDS[:400], [*IDS[:300], *IDS[500:]])
    with GritLM(tiny_file(case), threads=1) as model:
        alone = [answer(model, ids) for ids in prompts]
        model.clear_cache()
        with reading(model, tmp_path, opened=open_openvino):
            for ids, theirs in zip(prompts, alone, strict=True):
                check_same(model, ids, theirs)


@pytest.mark.parametrize("case", ["mistral", "mixtral"])
def test_up_to_the_context_length(tiny_file, tmp_path, counted, case):
    ids = IDS[: CONTEXT - 9]
    with GritLM(tiny_file(case), threads=1) as model:
        assert model.context_length == CONTEXT
        alone = answer(model, ids)
        model.clear_cache()
        with reading(model, tmp_path):
            check_same(model, ids, alone)
    assert sum(counted) == len(ids) - 1
    assert max(counted) == OnnxSession.part_tokens


def test_states_of_prefixes(tiny_file, tmp_path, counted):
    texts = ["The inn on the hill has nine rooms. " * 20, "The red ferry leaves at noon. " * 20]
    with GritLM(tiny_file("qwen2"), threads=1) as model:
        alone = [model.prefix_state(text) for text in texts]
        with reading(model, tmp_path):
            states = [model.prefix_state(text) for text in texts]
        assert counted
        for ours, theirs in zip(states, alone, strict=True):
            assert (ours.ids, ours.head) == (theirs.ids, theirs.head)
            mine, other = ours.key_values, theirs.key_values
            for a, b in zip((*mine.keys, *mine.values), (*other.keys, *other.values), strict=True):
                np.testing.assert_allclose(a.astype(np.float32), b, **CLOSE)


@pytest.mark.parametrize("recompute", [0, 4])
def test_behind_documents(tiny_file, tmp_path, counted, recompute):
    texts = ("The inn was founded by Ada.", "The ferry was built by Bo.")
    with GritLM(tiny_file("llama-yarn"), threads=1) as model:
        states = [model.document_state(text) for text in texts]
        for document in (states[0], model.join_states(states, recompute=recompute)):
            alone = answer(model, IDS[:400], document)
            model.clear_cache()
            counted.clear()
            with reading(model, tmp_path):
                check_same(model, IDS[:400], alone, document)
            assert counted == [256, 143]
            model.clear_cache()


def test_smoothed_values_are_undone(tiny_file, tmp_path):
    """In the states that a graph goes on from, and in those that it returns."""
    file = tiny_file("mistral")
    maxima = some_maxima(file)
    with open_tensors(read_header(file)) as tensors:
        network = read_network(tensors)
        made = smoothing_factors(network, tensors, maxima)
    shape = (network.kv_heads, network.head_width)
    factors = [made[f"blk.{layer}.attn_v"].reshape(shape) for layer in range(network.layers)]
    assert factors[0].max() > 2 * factors[0].min()
    prompts = (IDS[:300], [*IDS[:300], *IDS[400:600]])
    with GritLM(file, threads=1) as model:
        alone = [answer(model, ids) for ids in prompts]
        model.clear_cache()
        with reading(model, tmp_path, factors, maxima=maxima):
            for ids, theirs in zip(prompts, alone, strict=True):
                check_same(model, ids, theirs)


def test_a_question_after_the_graph_is_closed(tiny_path, tmp_path):
    with GritLM(tiny_path, threads=1) as model, reading(model, tmp_path) as engine:
        engine.close()
        with pytest.raises(ClosedError):
            answer(model, IDS[:300])
