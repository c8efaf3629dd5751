"""A document state as a file: its keys and values in fewer bits, and proof of what it is.

Form, little endian:

    8 bytes  b"GRITKV" and the number of the form, u16
    u32      length of the head
    head     JSON: the `Identity`, a digest of the tokens, the cells, how many of them stand
             before the text, and the columns of each matrix
    data     each matrix as `matrices` packs it: keys layer by layer, then values
    16 bytes XXH3-128 of all that stands before

A state is loaded where every byte is as it was written and the identity is the
expected one, never else.
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
from gritlite.prompt import Attention
from gritlite.rag.state_quantization import StateType, pack, packed_bytes, unpack
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
    magic, version, _ = _START.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise FormatError("no state, or one of another version of gritlite")
    if xxh3_128_digest(memoryview(data)[:-_DIGEST]) != data[-_DIGEST:]:
        raise FormatError("damaged: its checksum is wrong")
    return dict(json.loads(data[_START.size : _START.size + _head_bytes(data)]))


def decode(
    data: bytes, identity: Identity, ids: Sequence[int], head_dims: tuple[int, int]
) -> DocumentState:
    """The state of a file, which must be of these tokens, prompt and BOS included.

    `head_dims` are the lengths of a head's key and of its value.

    Raises FormatError for one that is damaged or of other tokens or another identity.
    """
    head = check(data)
    for name, wanted in {**asdict(identity), "tokens": _digest(ids)}.items():
        if head.get(name) != wanted:
            raise FormatError(f"made for other {name}")
    columns, numbers = head["columns"], identity.numbers
    place = _START.size + _head_bytes(data)
    arrays = []
    for width, keys in zip(columns, _are_keys(len(columns)), strict=True):
        size = packed_bytes(head["cells"], width, numbers, keys=keys)
        stored = np.frombuffer(data, np.uint8, size, place)
        matrix = unpack(stored, width, numbers, keys=keys)
        arrays.append(matrix.reshape(head["cells"], -1, head_dims[0 if keys else 1]))
        place += size
    layers = len(arrays) // 2
    return DocumentState(
        ids=tuple(ids),
        head=head["head"],
        attention=identity.attention,
        model=identity.model,
        opens_message=identity.opens_message,
        key_values=KeyValues(tuple(arrays[:layers]), tuple(arrays[layers:])),
    )


def _digest(ids: Sequence[int]) -> str:
    return hashlib.sha256(repr(list(ids)).encode()).hexdigest()


def _are_keys(matrices: int) -> list[bool]:
    """Of each matrix whether it holds keys."""
    return [True] * (matrices // 2) + [False] * (matrices // 2)


def _head_bytes(data: bytes) -> int:
    return int(_START.unpack_from(data)[2])
