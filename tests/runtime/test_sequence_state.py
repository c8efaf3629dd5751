"""llama.cpp's form of a sequence's cells: taken apart and put together it is the same."""

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import LibraryError
from gritlite.runtime.llama.sequence_state import read_sequence, write_sequence

TEXT = "The inn was founded by Ada Brown in 1850."


@pytest.mark.parametrize("case", ["llama-head-dim", "qwen2", "mixtral"])
def test_a_state_is_the_same_put_together_again(tiny_file, case):
    with GritLM(tiny_file(case), threads=1) as model:
        state = model.document_state(TEXT)
        parts = read_sequence(state.data)
        assert parts.cells == state.tokens
        assert write_sequence(parts) == state.data


def test_a_state_of_any_sequence_of_a_pass_reads_alike(tiny_model):
    states = {}
    texts = [TEXT, "Boats leave at noon.", TEXT]
    for _ in tiny_model.encode_stream(texts, keep=states.__setitem__):
        pass
    assert sorted(states) == [0, 1, 2]
    first, other, again = (read_sequence(states[number].data) for number in range(3))
    for rows, others in zip(first.rows, again.rows, strict=True):
        assert np.allclose(rows.view(np.float16), others.view(np.float16), atol=0.01)
    assert other.cells == states[1].tokens < first.cells


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
def test_other_forms_are_refused(tiny_model, place, value, problem):
    data = bytearray(tiny_model.document_state(TEXT).data)
    data[place] = value
    with pytest.raises(LibraryError, match=problem):
        read_sequence(bytes(data))


def test_a_state_with_a_tail_is_refused(tiny_model):
    data = tiny_model.document_state(TEXT).data
    for damaged in (data + b"x", data[:-1], data[:3], b""):
        with pytest.raises(LibraryError, match="in another form"):
            read_sequence(damaged)
