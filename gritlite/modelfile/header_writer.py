"""Encode GGUF headers: metadata, copied or new, and tensor descriptions.

Format: ggml's docs/gguf.md, version 3, little endian. The module does not know
what a key or a tensor means, and never sees tensor data.
"""

import math
import struct
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gritlite.modelfile.header import MAGIC, GGUFFile
from gritlite.modelfile.metadata_values import (
    ARRAY_TYPE,
    BOOL_TYPE,
    F32_TYPE,
    STRING_TYPE,
    U32_TYPE,
)
from gritlite.modelfile.types import BLOCKS, GGMLType

if TYPE_CHECKING:
    from gguf.constants import GGMLQuantizationType

VERSION = 3

MetadataValue = str | bool | int | float | Sequence[str] | Sequence[int]


@dataclass(frozen=True)
class EncodedMetadata:
    """`count` metadata keys and their values, encoded as in a file."""

    count: int
    data: bytes

    def __add__(self, other: "EncodedMetadata") -> "EncodedMetadata":
        return EncodedMetadata(self.count + other.count, self.data + other.data)


@dataclass(frozen=True)
class TensorFormat:
    """What a header says about a tensor: name, shape in numpy's order, and type."""

    name: str
    shape: tuple[int, ...]
    type: "GGMLType | GGMLQuantizationType"

    @property
    def size(self) -> int:
        """Bytes of its data. Rows must be whole blocks."""
        values, size = BLOCKS[GGMLType(self.type)]
        return math.prod(self.shape) // values * size


def encode_metadata(values: Mapping[str, MetadataValue]) -> EncodedMetadata:
    """Encode strings, booleans, integers as u32, floats as f32, and lists of strings or u32."""
    return EncodedMetadata(len(values), b"".join(_key(key, value) for key, value in values.items()))


def copy_metadata(header: GGUFFile, old: bytes, without: Container[str]) -> EncodedMetadata:
    """Copy a file's metadata byte for byte, except the keys in `without`.

    `old` are the file's bytes up to its tensor descriptions or further.
    """
    copied = [
        old[entry.start : entry.end] for key, entry in header.entries.items() if key not in without
    ]
    return EncodedMetadata(len(copied), b"".join(copied))


def encode_header(keys: EncodedMetadata, tensors: Sequence[TensorFormat], alignment: int) -> bytes:
    """Encode everything before the tensor data.

    The caller writes the data of `tensors` in order, each padded to `alignment` bytes.
    """
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), keys.count), keys.data]
    offset = 0
    for tensor in tensors:
        parts.append(_string(tensor.name))
        sizes = tensor.shape[::-1]
        parts.append(struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, tensor.type, offset))
        offset += tensor.size + padding(tensor.size, alignment)
    header = b"".join(parts)
    return header + bytes(padding(len(header), alignment))


def padding(size: int, alignment: int) -> int:
    """Return how many bytes to add to `size` for a multiple of `alignment`."""
    return -size % alignment


def _key(key: str, value: MetadataValue) -> bytes:
    name = _string(key)
    match value:
        case bool():
            return name + struct.pack("<IB", BOOL_TYPE, value)
        case int():
            return name + struct.pack("<II", U32_TYPE, value)
        case float():
            return name + struct.pack("<If", F32_TYPE, value)
        case str():
            return name + struct.pack("<I", STRING_TYPE) + _string(value)
        case _:
            return name + _array(value)


def _array(values: Sequence[str] | Sequence[int]) -> bytes:
    numbers = [value for value in values if isinstance(value, int)]
    if numbers:
        start = struct.pack("<IIQ", ARRAY_TYPE, U32_TYPE, len(numbers))
        return start + struct.pack(f"<{len(numbers)}I", *numbers)
    strings = [_string(value) for value in values if isinstance(value, str)]
    return struct.pack("<IIQ", ARRAY_TYPE, STRING_TYPE, len(strings)) + b"".join(strings)


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data
