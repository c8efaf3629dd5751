"""The engine contract: the same tests for llama.cpp, for the fake engine, and for graphs.

Graphs only embed.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import gritlite
from gritlite.errors import ClosedError
from gritlite.modelfile.header import read_header
from gritlite.prompt import Attention
from gritlite.runtime.engine import Decoder, EmbeddingEngine, Engine, KeyValues
from gritlite.runtime.llama import LlamaEngine
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.opening import open_graph
from gritlite.runtime.onnx.preparation import prepare
from gritlite.runtime.options import SamplingOptions
from tests.runtime.fake_engine import FakeEngine

TEXT = "The inn was founded by Ada Brown in 1850."
OTHER = "Boats leave the harbour at noon."
CLOSE = 2e-3  # as a share of the largest logit; keys and values are rounded to float16
ATTENTIONS: tuple[Attention, ...] = ("bidirectional", "causal")


@pytest.fixture(params=["fake", "llama"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: Engine = FakeEngine()
    if request.param == "llama":
        made = LlamaEngine(request.getfixturevalue("tiny_path"), threads=1)
    yield made
    made.close()


@pytest.fixture(params=["fake", "llama", "onnx", "openvino"])
def embedder(request: pytest.FixtureRequest) -> Iterator[EmbeddingEngine]:
    made: EmbeddingEngine = FakeEngine()
    if request.param == "llama":
        made = LlamaEngine(request.getfixturevalue("tiny_path"), threads=1)
    elif request.param != "fake":
        request.getfixturevalue("exact_graph")  # its cache
        file = read_header(request.getfixturevalue("tiny_path"))
        graph = prepare(file, Form(request.param, "float32"), threads=1)
        made = open_graph(graph, file, threads=1)
    yield made
    made.close()


@pytest.fixture
def decoder(engine: Engine) -> Iterator[Decoder]:
    opened = engine.open_decoder(256, 128)
    yield opened
    opened.close()


def ids_of(engine: EmbeddingEngine, text: str) -> list[int]:
    return engine.vocabulary.tokenize(text, parse_control=False).tolist()


def after(decoder: Decoder, ids: Sequence[int], start: int) -> np.ndarray:
    """Evaluate tokens and return the logits of the last one."""
    decoder.evaluate(ids, start, np.arange(len(ids)) == len(ids) - 1)
    return decoder.logits(1)[0].copy()


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert np.abs(found - wanted).max() <= CLOSE * np.abs(wanted).max()


def test_pieces_concatenate_to_the_text(embedder: EmbeddingEngine) -> None:
    vocabulary = embedder.vocabulary
    assert b"".join(map(vocabulary.piece, ids_of(embedder, TEXT))).decode() == TEXT
    assert len(vocabulary.control) == vocabulary.size
    control = int(np.flatnonzero(vocabulary.control)[0])
    assert vocabulary.piece(control) == b""
    assert vocabulary.piece(control, special=True).decode() == vocabulary.token_text(control)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_packed_sequences_do_not_attend_to_each_other(
    embedder: EmbeddingEngine, attention: Attention
) -> None:
    opened = embedder.open_pass(256, attention)
    texts = [np.array(ids_of(embedder, text), np.int32) for text in (TEXT, OTHER, TEXT)]
    starts = [0, 3, 5]
    packed, states = opened.run(texts, starts, return_states=True)
    assert packed.dtype == np.float32
    assert packed.shape[1] == embedder.dimension
    assert [state.tokens for state in states] == [len(ids) for ids in texts]
    row = 0
    for ids, start in zip(texts, starts, strict=True):
        (alone, nothing) = opened.run([ids], [0])
        assert nothing == []
        count = len(ids) - start
        assert_close(packed[row : row + count], alone[start:])
        row += count
    assert row == len(packed)
    opened.close()


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_bidirectional_tokens_attend_to_later_ones(
    embedder: EmbeddingEngine, attention: Attention
) -> None:
    opened = embedder.open_pass(64, attention)
    ids = np.array(ids_of(embedder, OTHER), np.int32)
    changed = ids.copy()
    changed[-1] = ids[0]
    (one, _), (two, _) = opened.run([ids], [0]), opened.run([changed], [0])
    moved = np.abs(one[:-1] - two[:-1]).max() > 1e-3
    assert moved == (attention == "bidirectional")
    opened.close()


def test_a_state_has_float16_arrays_per_layer(engine: Engine, decoder: Decoder) -> None:
    ids = ids_of(engine, TEXT)
    after(decoder, ids, 0)
    state = decoder.state()
    assert state.tokens == len(ids)
    assert len(state.keys) == len(state.values) >= 1
    for array in (*state.keys, *state.values):
        assert array.dtype == np.float16
        assert array.ndim == 3
        assert len(array) == len(ids)
    assert state.without_first(4).tokens == len(ids) - 4
    assert state == KeyValues(tuple(map(np.copy, state.keys)), tuple(map(np.copy, state.values)))
    assert state != state.without_first(1)


def test_tokens_in_two_calls_give_the_same_as_in_one(engine: Engine, decoder: Decoder) -> None:
    ids = ids_of(engine, TEXT)
    whole = after(decoder, ids, 0)
    decoder.truncate(0)
    after(decoder, ids[:7], 0)
    assert_close(after(decoder, ids[7:], 7), whole)


def test_every_output_has_its_logits(engine: Engine) -> None:
    decoder = engine.open_decoder(256, 128, all_logits=True)
    ids = ids_of(engine, TEXT)
    outputs = np.zeros(len(ids), np.bool_)
    outputs[[2, 9, len(ids) - 1]] = True
    decoder.evaluate(ids, 0, outputs)
    found = decoder.logits(3).copy()
    assert found.shape == (3, engine.vocabulary.size)
    for row, end in zip(found, np.flatnonzero(outputs) + 1, strict=True):
        decoder.truncate(0)
        assert_close(after(decoder, ids[:end], 0), row)
    decoder.close()


def test_truncated_tokens_have_no_effect(engine: Engine, decoder: Decoder) -> None:
    ids, others = ids_of(engine, TEXT), ids_of(engine, OTHER)
    whole = after(decoder, ids, 0)
    decoder.truncate(10)
    after(decoder, others, 10)
    decoder.truncate(10)
    assert_close(after(decoder, ids[10:], 10), whole)


def test_a_restored_state_continues_as_before(engine: Engine, decoder: Decoder) -> None:
    ids, more = ids_of(engine, TEXT), ids_of(engine, OTHER)
    after(decoder, ids, 0)
    state = decoder.state()
    wanted = after(decoder, more, len(ids))
    decoder.truncate(0)
    decoder.restore(state)
    assert np.array_equal(after(decoder, more, len(ids)), wanted)


def test_part_of_a_state_follows_evaluated_tokens(engine: Engine, decoder: Decoder) -> None:
    ids, more = ids_of(engine, TEXT), ids_of(engine, OTHER)
    after(decoder, ids, 0)
    state = decoder.state()
    wanted = after(decoder, more, len(ids))
    decoder.truncate(0)
    after(decoder, ids[:9], 0)
    decoder.restore(state.without_first(9), 9, rotated_for=9)
    assert_close(after(decoder, more, len(ids)), wanted)


def test_a_state_moves_to_other_positions(engine: Engine, decoder: Decoder) -> None:
    """Two concatenated states contain every token, and their order matters."""
    ids, more = ids_of(engine, TEXT), ids_of(engine, OTHER)
    states = []
    for each in (ids, more):
        decoder.truncate(0)
        after(decoder, each, 0)
        states.append(decoder.state())
    found = []
    for first, second in (states, states[::-1]):
        decoder.truncate(0)
        decoder.restore(first)
        decoder.restore(second, first.tokens)
        found.append(after(decoder, ids[:3], len(ids) + len(more)))
        assert decoder.state().tokens == len(ids) + len(more) + 3
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_the_most_likely_token_is_chosen_at_temperature_0(engine: Engine, decoder: Decoder) -> None:
    logits = after(decoder, ids_of(engine, TEXT), 0)
    sampler = engine.sampler(SamplingOptions(temperature=0), [])
    assert sampler.choose(logits) == logits.argmax()
    sampler.close()


def test_a_closed_decoder_raises(engine: Engine) -> None:
    decoder = engine.open_decoder(64, 64)
    decoder.close()
    with pytest.raises(ClosedError):
        after(decoder, [5, 6], 0)


def test_nothing_imports_the_internals_of_an_engine() -> None:
    package = Path(gritlite.__file__).parent
    inside = package / "runtime" / "llama"
    for path in package.rglob("*.py"):
        if inside not in path.parents:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = node.module if isinstance(node, ast.ImportFrom) else None
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [name]
                assert not [n for n in names if n and n.startswith("gritlite.runtime.llama.")], path
