"""A document state as a file: its keys and values in fewer bits, and proof of what it is.

Form, little endian:

    8 bytes  b"GRITKV" and the number of the form, u16
    u32      length of the head
    head     JSON: the `Identity`, a digest of the tokens, the cells, how many of them stand
             before the text, and the bytes of a row of each matrix
    data     the rows of each matrix: keys layer by layer, then values
    16 bytes XXH3-128 of all that stands before

Quantized rows are ggml's own q8_0 (34 bytes for 32 numbers) and q4_0 (18), the
types that llama.cpp quantizes its key-value memory to. A state is loaded where
every byte is as it was written and the identity is the expected one, never else.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import FormatError
from gritlite.quant.rows import dequantize_rows, quantize_rows
from gritlite.rag.halves import to_half, to_single
from gritlite.runtime.document import DocumentState
from gritlite.runtime.llama.sequence_state import SequenceState, read_sequence, write_sequence

Number = Literal["f16", "q8_0", "q4_0"]

SHARE_OF_F16: dict[Number, float] = {"f16": 1.0, "q8_0": 34 / 64, "q4_0": 18 / 64}

_MAGIC = b"GRITKV"
_VERSION = 1
_START = struct.Struct("<6sHI")
_DIGEST = 16
_TYPES: dict[Number, GGMLQuantizationType] = {
    "q8_0": GGMLQuantizationType.Q8_0,
    "q4_0": GGMLQuantizationType.Q4_0,
}


@dataclass(frozen=True)
class Identity:
    """All that a state depends on beside its tokens.

    The model file's fingerprint, the build of llama.cpp, the number format, and how the
    pass read the text.
    """

    model: str
    library: str
    numbers: Number
    attention: str
    opens_message: bool


def encode(state: DocumentState, identity: Identity) -> Iterator[bytes]:
    """The parts of the file, one after another.

    Raises UsageError where rows are no whole number of blocks of 32 numbers, and
    LibraryError for a state in a form that is not known.
    """
    from xxhash import xxh3_128

    rows = [_quantized(each, identity.numbers) for each in read_sequence(state.data).rows]
    sizes = [each.shape[1] for each in rows]
    facts = {
        **asdict(identity),
        "tokens": _digest(state.ids),
        "cells": state.tokens,
        "head": state.head,
        "row_bytes": sizes,
    }
    head = json.dumps(facts).encode()
    digest = xxh3_128()
    parts = (_START.pack(_MAGIC, _VERSION, len(head)), head, *map(np.ndarray.tobytes, rows))
    for part in parts:
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
    return dict(json.loads(data[_START.size : _START.size + length]))


def decode(data: bytes, identity: Identity, ids: Sequence[int]) -> DocumentState:
    """The state of a file, which must be of these tokens, prompt and BOS included.

    Raises FormatError for one that is damaged or of other tokens or another identity.
    """
    head = check(data)
    for name, wanted in {**asdict(identity), "tokens": _digest(ids)}.items():
        if head.get(name) != wanted:
            raise FormatError(f"made for other {name}")
    cells, sizes = head["cells"], head["row_bytes"]
    place = len(data) - _DIGEST - cells * sum(sizes)
    rows = []
    for size in sizes:
        stored = np.frombuffer(data, np.uint8, cells * size, place).reshape(cells, size)
        rows.append(_half(stored, identity.numbers))
        place += cells * size
    whole = write_sequence(SequenceState(tuple(rows)))
    return DocumentState(
        ids=tuple(ids),
        head=head["head"],
        attention=identity.attention,
        model=identity.model,
        opens_message=identity.opens_message,
        data=whole,
    )


def _digest(ids: Sequence[int]) -> str:
    return hashlib.sha256(repr(list(ids)).encode()).hexdigest()


def _quantized(rows: NDArray[np.uint8], numbers: Number) -> NDArray[np.uint8]:
    if numbers == "f16":
        return np.ascontiguousarray(rows)
    return quantize_rows(to_single(rows.view("<f2")), _TYPES[numbers], threads=1)


def _half(rows: NDArray[np.uint8], numbers: Number) -> NDArray[np.uint8]:
    if numbers == "f16":
        return rows
    return to_half(dequantize_rows(rows, _TYPES[numbers])).view(np.uint8)
