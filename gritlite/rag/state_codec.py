"""A document state as a file: its keys and values in fewer bits, and proof of what it is.

Form, little endian:

    8 bytes  b"GRITKV" and the number of the form, u16
    u32      length of the head
    head     JSON: the `Identity`, a digest of the tokens, the cells, how many of them stand
             before the text, and the columns of each matrix
    data     each matrix as `matrices` packs it: keys layer by layer, then values
    16 bytes XXH3-128 of all that stands before

A state is loaded where every byte is as it was written, and identity, tokens and shape are
the expected ones, never else. Nothing that the head says is used otherwise.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np

from gritlite.errors import FormatError
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.prompt import Attention
from gritlite.rag.state_quantization import StateType, is_finite, pack, packed_bytes, unpack
from gritlite.runtime.any_model import AnyModel
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.state import DocumentState

_MAGIC = b"GRITKV"
_VERSION = 2
_START = struct.Struct("<6sHI")
_DIGEST = 16


@dataclass(frozen=True)
class Identity:
    """All that a state depends on beside its tokens.

    The model file's fingerprint, the build of llama.cpp, the number format, and how the
    pass read the text.
    """

    model: str
    library: str
    numbers: StateType
    attention: Attention
    opens_message: bool


@dataclass(frozen=True)
class StateShape:
    """The key-value heads of each layer, and the lengths of a head's key and of its value."""

    kv_heads: tuple[int, ...]
    key_width: int
    value_width: int

    @property
    def columns(self) -> list[int]:
        """The columns of each matrix of a file."""
        keys = [heads * self.key_width for heads in self.kv_heads]
        return [*keys, *(heads * self.value_width for heads in self.kv_heads)]


def shape_of(model: AnyModel) -> StateShape:
    """The shape of a model's states."""
    sizes = read_hyperparameters(model.file)
    return StateShape(sizes.kv_heads, sizes.key_width, sizes.value_width)


def encode(state: DocumentState, identity: Identity) -> Iterator[bytes]:
    """The parts of the file, one after another.

    Raises UsageError where rows are not a whole number of blocks of 32 numbers.
    """
    from xxhash import xxh3_128

    arrays = (*state.key_values.keys, *state.key_values.values)
    matrices = [array.reshape(state.tokens, -1) for array in arrays]
    packed = (
        pack(matrix, identity.numbers, keys=keys)
        for matrix, keys in zip(matrices, _are_keys(len(matrices)), strict=True)
    )
    facts = {
        **asdict(identity),
        "tokens": _digest(state.ids),
        "cells": state.tokens,
        "head": state.head,
        "columns": [matrix.shape[1] for matrix in matrices],
    }
    head = json.dumps(facts).encode()
    digest = xxh3_128()
    for part in chain((_START.pack(_MAGIC, _VERSION, len(head)), head), packed):
        digest.update(part)
        yield part
    yield digest.digest()


def check(data: bytes) -> dict[str, Any]:
    """The head of a file. Raises FormatError for one that is not as it was written."""
    from xxhash import xxh3_128_digest

    if len(data) < _START.size + _DIGEST:
        raise FormatError("cut short")
    magic, version, length = _START.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise FormatError("no state, or one of another version of gritlite")
    if xxh3_128_digest(memoryview(data)[:-_DIGEST]) != data[-_DIGEST:]:
        raise FormatError("damaged: its checksum is wrong")
    if _START.size + length + _DIGEST > len(data):
        raise FormatError("damaged: its head is longer than the file")
    try:
        head = json.loads(data[_START.size : _START.size + length])
    except (ValueError, RecursionError) as error:
        raise FormatError("damaged: its head is not JSON") from error
    if not isinstance(head, dict):
        raise FormatError("damaged: its head is not a JSON object")
    return head


@dataclass(frozen=True)
class Expected:
    """The state that is wanted: its tokens, and how many of them (`head`) precede the text."""

    identity: Identity
    ids: Sequence[int]
    head: int
    shape: StateShape


def decode(data: bytes, expected: Expected) -> DocumentState:
    """The state of a file.

    Raises FormatError for one that is damaged, is not the expected one, or holds NaN or
    infinity.
    """
    found = check(data)
    identity, ids, shape = expected.identity, expected.ids, expected.shape
    facts = {
        **asdict(identity),
        "tokens": _digest(ids),
        "cells": len(ids),
        "head": expected.head,
        "columns": shape.columns,
    }
    for name, wanted in facts.items():
        if type(found.get(name)) is not type(wanted) or found[name] != wanted:
            raise FormatError(f"made for other {name}")
    place = _START.size + _START.unpack_from(data)[2]
    if len(data) - _DIGEST - place != _packed_bytes(len(ids), shape, identity.numbers):
        raise FormatError("damaged: its length is wrong")
    arrays = []
    for width, keys in zip(shape.columns, _are_keys(len(shape.columns)), strict=True):
        size = packed_bytes(len(ids), width, identity.numbers, keys=keys)
        matrix = unpack(
            np.frombuffer(data, np.uint8, size, place), width, identity.numbers, keys=keys
        )
        if not is_finite(matrix):
            raise FormatError("damaged: it holds NaN or infinity")
        arrays.append(matrix.reshape(len(ids), -1, shape.key_width if keys else shape.value_width))
        place += size
    layers = len(arrays) // 2
    return DocumentState(
        ids=tuple(ids),
        head=expected.head,
        attention=identity.attention,
        model=identity.model,
        opens_message=identity.opens_message,
        key_values=KeyValues(tuple(arrays[:layers]), tuple(arrays[layers:])),
    )


def _packed_bytes(tokens: int, shape: StateShape, numbers: StateType) -> int:
    columns = zip(shape.columns, _are_keys(len(shape.columns)), strict=True)
    return sum(packed_bytes(tokens, width, numbers, keys=keys) for width, keys in columns)


def _digest(ids: Sequence[int]) -> str:
    return hashlib.sha256(repr(list(ids)).encode()).hexdigest()


def _are_keys(matrices: int) -> list[bool]:
    """Of each matrix whether it holds keys."""
    return [True] * (matrices // 2) + [False] * (matrices // 2)
