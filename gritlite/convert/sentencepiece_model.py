"""Read SentencePiece's `tokenizer.model`.

Format: sentencepiece_model.proto (github.com/google/sentencepiece), a protocol buffer.
Only a few of its fields matter here, so no protobuf library is needed. The module does
not know which tokens a model adds (`special_tokens`).
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

from gritlite.convert.vocabulary import BaseVocabulary, Token, TokenType
from gritlite.errors import FormatError, TokenizerError
from gritlite.system.reading import read_bytes

# field numbers of sentencepiece_model.proto
PIECES, TRAINER, NORMALIZER = 1, 2, 3
PIECE_TEXT, PIECE_SCORE, PIECE_TYPE = 1, 2, 3
MODEL_TYPE = 3
CHARS_MAP, DUMMY_PREFIX, REMOVE_EXTRA, ESCAPE = 2, 3, 4, 5

BPE = 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}

Field = tuple[int, int | bytes]


def read_sentencepiece(path: Path) -> BaseVocabulary:
    """Read a SentencePiece BPE model, the kind of all Llama and Mistral models.

    Raises FileError if it cannot be read, FormatError if it is damaged, and
    TokenizerError if it tokenizes in a way that llama.cpp does not support.
    """
    data = read_bytes(path)
    try:
        fields = list(_fields(data))
        tokens = tuple(_token(value) for number, value in fields if number == PIECES)
        trainer = _message(fields, TRAINER)
        normalizer = _message(fields, NORMALIZER)
    except (ValueError, TypeError, struct.error) as error:
        raise FormatError(
            f"{path} is not a SentencePiece model: add the model's tokenizer.json"
        ) from error
    if not tokens:
        raise FormatError(f"{path} has no pieces: add the model's tokenizer.json")
    _refuse_unsupported(path, trainer, normalizer)
    return BaseVocabulary(
        model="llama",
        pre="default",
        tokens=tokens,
        merges=(),
        add_space_prefix=bool(normalizer.get(DUMMY_PREFIX, True)),
        normalizer=None,
    )


def _refuse_unsupported(
    path: Path, trainer: dict[int, int | bytes], normalizer: dict[int, int | bytes]
) -> None:
    if trainer.get(MODEL_TYPE) != BPE:
        raise TokenizerError(
            f"{path} is not a BPE model: others, Unigram ones too, are not supported"
        )
    if normalizer.get(CHARS_MAP):
        raise TokenizerError(f"{path} normalizes text: llama.cpp does not")
    if normalizer.get(REMOVE_EXTRA, True):
        raise TokenizerError(f"{path} removes extra spaces: llama.cpp keeps them")
    if not normalizer.get(ESCAPE, True):
        raise TokenizerError(f"{path} does not write spaces as U+2581: llama.cpp does")


def _token(piece: int | bytes) -> Token:
    fields = dict(_fields(_as_bytes(piece)))
    (score,) = struct.unpack("<f", _as_bytes(fields.get(PIECE_SCORE, bytes(4))))
    if not math.isfinite(score):
        raise ValueError("a score is not finite")
    text = _as_bytes(fields.get(PIECE_TEXT, b"")).decode("utf-8")
    return Token(text, TokenType(int(fields.get(PIECE_TYPE, TokenType.NORMAL))), score)


def _message(fields: list[Field], number: int) -> dict[int, int | bytes]:
    """Return the fields of the embedded message `number`."""
    merged: dict[int, int | bytes] = {}
    for found, value in fields:
        if found == number:
            merged.update(_fields(_as_bytes(value)))
    return merged


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number instead of bytes")
    return value


def _fields(data: bytes) -> Iterator[Field]:
    """Yield the numbers and values of a message's fields; ValueError if it is malformed."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        size = FIXED_SIZES.get(wire)
        if wire == BYTES:
            size, position = _varint(data, position)
        if size is None or size > len(data) - position:
            raise ValueError("a field is truncated or has an unknown wire type")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is truncated or too long")
