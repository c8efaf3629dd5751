"""Messages arrive whole, in order and bit for bit; errors and states arrive as they were."""

import io
import os
import types

import numpy as np
import pytest

from gritlite import errors
from gritlite.errors import GritLiteError, InputError, ModelProcessError, NotFiniteError, UsageError
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.isolation.messages import Channel, Message
from gritlite.runtime.isolation.values import error_fields, error_from, state_fields, state_from
from gritlite.runtime.state import DocumentState, JoinedState


def received(*messages):
    """What is received of messages that were sent."""
    written = io.BytesIO()
    sender = Channel(io.BytesIO(), written)
    for message in messages:
        sender.send(message)
    receiver = Channel(io.BytesIO(written.getvalue()), io.BytesIO())
    return [receiver.receive() for _ in range(len(messages) + 1)]


def test_fields_and_arrays_arrive_as_they_were():
    arrays = [
        np.array([[1.5, np.nan], [-0.0, np.inf]], np.float32),
        np.arange(24, dtype=np.float16).reshape(2, 3, 4)[:, ::2],
        np.empty((0, 3), np.float32),
        np.array([2**31 - 1, -1], np.int32),
    ]
    fields = {"text": "a \ud800 \u20ac", "nested": [None, True, 1.5, {"a": []}]}
    found, end = received(Message("kind", 7, fields, arrays))
    assert (found.kind, found.job, found.fields) == ("kind", 7, fields)
    assert [each.dtype for each in found.arrays] == [each.dtype for each in arrays]
    for sent, got in zip(arrays, found.arrays, strict=True):
        assert sent.shape == got.shape
        assert sent.tobytes() == got.tobytes()
    assert end is None


def test_a_message_that_is_cut_short_is_none():
    written = io.BytesIO()
    Channel(io.BytesIO(), written).send(Message("kind", 1, {}, [np.ones(100, np.float32)]))
    whole = written.getvalue()
    for length in (0, 1, 3, 4, 20, len(whole) - 1):
        assert Channel(io.BytesIO(whole[:length]), io.BytesIO()).receive() is None


def test_mappings_tuples_and_numpys_numbers_go_as_json():
    fields = {
        "mapping": types.MappingProxyType({"role": "user"}),
        "numbers": (np.float32(0.5), np.int64(3)),
        "several": {"one"},
    }
    found, _ = received(Message("kind", 1, fields))
    assert found.fields == {"mapping": {"role": "user"}, "numbers": [0.5, 3], "several": ["one"]}


@pytest.mark.parametrize("value", [object(), b"bytes"])
def test_what_json_cannot_carry_is_refused(value):
    with pytest.raises(UsageError, match="cannot be passed to the model's process"):
        received(Message("kind", 1, {"value": value}))


def test_an_unknown_type_of_array_is_refused():
    with pytest.raises(ValueError, match="an array of object: expected one of float16"):
        received(Message("kind", 1, {}, [np.array([None, None])]))


def test_what_is_sent_while_a_message_is_written_follows_it():
    """As from the garbage collector, which may run in the middle of a write."""

    class Interrupted(io.BytesIO):
        def write(self, data):
            if first:
                channel.send(first.pop())
            return super().write(data)

    first = [Message("inner", 2)]
    written = Interrupted()
    channel = Channel(io.BytesIO(), written)
    channel.send(Message("outer", 1, {"text": "a"}))
    receiver = Channel(io.BytesIO(written.getvalue()), io.BytesIO())
    assert [receiver.receive().kind for _ in range(2)] == ["outer", "inner"]


def test_through_a_pipe_that_is_smaller_than_the_message():
    import threading

    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as writer:
        channel = Channel(reader, writer)
        array = np.random.default_rng(0).random(1 << 20, np.float32)
        thread = threading.Thread(target=channel.send, args=(Message("kind", 1, {}, [array]),))
        thread.start()
        found = channel.receive()
        thread.join()
    assert (found.arrays[0] == array).all()


def all_errors():
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, GritLiteError)
    ]


def made(kind):
    if issubclass(kind, InputError):
        return kind("it is wrong", 3)
    if kind is NotFiniteError:
        return kind("text 4", 3)
    if kind is errors.MissingExtraError:
        return kind("onnx", "onnx", "a graph")
    return kind() if kind is errors.ClosedError else kind("it is wrong")


@pytest.mark.parametrize("kind", all_errors())
def test_every_error_keeps_its_class_message_and_attributes(kind):
    error = made(kind)
    found = error_from(error_fields(error))
    assert type(found) is kind
    assert str(found) == str(error)
    assert vars(found) == vars(error)
    assert found.exit_code == error.exit_code


def test_errors_of_python_keep_their_class_and_others_are_told():
    assert repr(error_from(error_fields(TypeError("no")))) == "TypeError('no')"
    assert isinstance(error_from(error_fields(MemoryError())), MemoryError)
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()
    told = error_from(error_fields(caught.value))
    assert isinstance(told, ModelProcessError)
    assert "UnicodeDecodeError: 'utf-8' codec" in str(told)


def states():
    rng = np.random.default_rng(1)

    def arrays():
        return tuple(rng.random((5, 2, 4)).astype(np.float16) for _ in range(3))

    return [
        DocumentState((1, 2, 3, 4, number), 2, "causal", "fingerprint", True, KeyValues(a, b))
        for number, a, b in [(5, arrays(), arrays()), (6, arrays(), arrays())]
    ]


@pytest.mark.parametrize("joined", [False, True])
def test_states_arrive_as_they_were(joined):
    one, other = states()
    state = JoinedState((one, other), 1, 8) if joined else one
    fields, arrays = state_fields(state)
    found, _ = received(Message("kind", 1, fields, arrays))
    assert state_from(found.fields, found.arrays) == state
