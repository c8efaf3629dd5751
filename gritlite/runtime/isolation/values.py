"""Errors and key-value states as fields and arrays of a message, and back."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite import errors
from gritlite.errors import GritLiteError, ModelProcessError
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.state import DocumentState, JoinedState, State

Arrays = Sequence[NDArray[Any]]


def error_fields(error: BaseException) -> dict[str, Any]:
    """Return what an error is, for `error_from`."""
    attributes = {
        name: value
        for name, value in vars(error).items()
        if value is None or isinstance(value, str | int | float)
    }
    return {"error": type(error).__name__, "message": str(error), "attributes": attributes}


def error_from(fields: Mapping[str, Any]) -> Exception:
    """Return an error of the same class, with the same message and the attributes of its own.

    One of a class that is neither gritlite's nor Python's becomes a ModelProcessError.
    """
    name, message = fields["error"], fields["message"]
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, GritLiteError):
        error = kind.__new__(kind)
        Exception.__init__(error, message)  # not the class's own, which makes the message
        vars(error).update(fields["attributes"])
        return error
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # it wants more than a message
            pass
    return ModelProcessError(f"the model's process failed: {name}: {message}")


def state_fields(state: State) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return a state's fields and arrays, for `state_from`."""
    parts = []
    arrays: list[NDArray[Any]] = []
    for part in state.parts:
        parts.append(
            {
                "head": part.head,
                "attention": part.attention,
                "model": part.model,
                "opens_message": part.opens_message,
                "layers": len(part.key_values.keys),
            }
        )
        arrays += [np.asarray(part.ids, np.int32), *part.key_values.keys, *part.key_values.values]
    fields: dict[str, Any] = {"parts": parts}
    if isinstance(state, JoinedState):
        fields |= {"left_out": state.left_out, "recomputed": state.recomputed}
    return fields, arrays


def state_from(fields: Mapping[str, Any], arrays: Arrays) -> State:
    """Return the state of `state_fields`."""
    parts, place = [], 0
    for part in fields["parts"]:
        layers = part["layers"]
        ids, *matrices = arrays[place : place + 1 + 2 * layers]
        place += 1 + 2 * layers
        parts.append(
            DocumentState(
                ids=tuple(ids.tolist()),
                head=part["head"],
                attention=part["attention"],
                model=part["model"],
                opens_message=part["opens_message"],
                key_values=KeyValues(tuple(matrices[:layers]), tuple(matrices[layers:])),
            )
        )
    if "left_out" not in fields:
        return parts[0]
    return JoinedState(tuple(parts), fields["left_out"], fields["recomputed"])


def document_state_from(fields: Mapping[str, Any], arrays: Arrays) -> DocumentState:
    """Return the state of `state_fields` of one document."""
    state = state_from(fields, arrays)
    assert isinstance(state, DocumentState)
    return state
