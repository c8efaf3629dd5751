"""llama.cpp's format of a sequence's keys and values: reading and writing are inverse."""

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import LibraryError
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.llama.sequence_state import read_sequence, write_sequence

TEXT = "The inn was founded by Ada Brown in 1850."


HEAD_DIMS = (6, 4)


@pytest.fixture
def data():
    """A state of two layers with random numbers."""
    numbers = np.random.default_rng(0).normal(size=(2, 7, 3, 6)).astype(np.float16)
    return write_sequence(KeyValues(tuple(numbers), tuple(numbers[..., :4])))


@pytest.mark.parametrize("case", ["llama-head-dim", "qwen2", "mixtral"])
def test_a_state_survives_a_round_trip(tiny_file, case):
    with GritLM(tiny_file(case), threads=1) as model:
        state = model.document_state(TEXT)
        written = write_sequence(state.key_values)
        again = read_sequence(written, model.engine.weights.head_dims)
        assert again == state.key_values
        assert again.tokens == state.tokens
        assert write_sequence(again) == written


def test_cells_in_another_order(tiny_model):
    """Joined states can have such an order."""
    state = tiny_model.document_state(TEXT).key_values
    data = bytearray(write_sequence(state))
    order = np.arange(state.tokens)[::-1]
    table = np.frombuffer(data, "<i4", 3 * state.tokens, 16).reshape(-1, 3)
    table[:, 0] = order
    found = read_sequence(bytes(data), tiny_model.engine.weights.head_dims)
    for array, stored in zip(found.keys, state.keys, strict=True):
        assert np.array_equal(array, stored[order])


def test_states_of_all_sequences_of_a_pass_can_be_read(tiny_model):
    states = {}
    texts = [TEXT, "Boats leave at noon.", TEXT]
    for _ in tiny_model.encode_stream(texts, keep=states.__setitem__):
        pass
    assert sorted(states) == [0, 1, 2]
    first, other, again = (states[number].key_values for number in range(3))
    for one, two in zip(first.keys + first.values, again.keys + again.values, strict=True):
        assert np.allclose(one, two, atol=0.01)
    assert other.tokens == states[1].tokens < first.tokens


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (0, 2, "magic"),
        (8, 2, "streams: 2 instead of 1"),
        (12, 3, "transposed values"),
        (16, 1, "positions: False"),
        (20, 2, "sequences of a cell"),
    ],
)
def test_other_formats_are_refused(data, place, value, problem):
    damaged = bytearray(data)
    damaged[place] = value
    with pytest.raises(LibraryError, match=problem):
        read_sequence(bytes(damaged), HEAD_DIMS)


def test_trailing_bytes_are_refused(data):
    assert read_sequence(data, HEAD_DIMS).tokens == 7
    for damaged in (data + b"x", data[:-1], data[:3], b""):
        with pytest.raises(LibraryError, match="in another format"):
            read_sequence(damaged, HEAD_DIMS)


def test_heads_of_another_size_are_refused(data):
    with pytest.raises(LibraryError, match="in another format"):
        read_sequence(data, (7, 7))
