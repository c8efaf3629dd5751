"""A GGUF file taken apart, to be changed anywhere and written again.

Values keep the type they had; `encode` writes whatever is there, right or wrong.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


@dataclass
class Entry:
    """A metadata key. `item` is the type of an array's items."""

    key: str
    type: int
    value: Any
    item: int = 0


@dataclass
class Tensor:
    """A tensor; `lengths` in GGUF's order. `offset` None: behind the one before."""

    name: bytes
    lengths: list[int]
    type: int
    data: bytes
    offset: int | None = None


@dataclass
class Document:
    """A whole file."""

    entries: list[Entry]
    tensors: list[Tensor]
    alignment: int = 32

    def find(self, key: str) -> Entry | None:
        """Return the entry of a key."""
        return next((entry for entry in self.entries if entry.key == key), None)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        parts = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.entries))]
        parts += map(_encode_entry, self.entries)
        data = bytearray()
        for tensor in self.tensors:
            offset = len(data) if tensor.offset is None else tensor.offset
            parts.append(_string(tensor.name))
            lengths = [number % 2**64 for number in tensor.lengths]
            parts.append(struct.pack(f"<I{len(lengths)}Q", len(lengths), *lengths))
            parts.append(struct.pack("<IQ", tensor.type % 2**32, offset % 2**64))
            data += tensor.data + bytes(-len(tensor.data) % self.alignment)
        header = b"".join(parts)
        return header + bytes(-len(header) % self.alignment) + data


def parse(path: Path) -> Document:
    """Take a sound file apart, with gguf's own reader."""
    reader = gguf.GGUFReader(path)
    entries = []
    for name, field in reader.fields.items():
        if not name.startswith("GGUF."):
            item = int(field.types[-1]) if len(field.types) > 1 else 0
            value = field.contents()
            entries.append(Entry(name, int(field.types[0]), value, item))
    tensors = [
        Tensor(
            tensor.name.encode(),
            [int(length) for length in tensor.shape],
            int(tensor.tensor_type),
            np.ascontiguousarray(tensor.data).tobytes(),
        )
        for tensor in reader.tensors
    ]
    return Document(entries, tensors)


def _encode_entry(entry: Entry) -> bytes:
    head = _string(entry.key.encode("utf-8", "surrogateescape"))
    if entry.type == ARRAY:
        items = b"".join(_value(entry.item, value) for value in entry.value)
        head += struct.pack("<IIQ", ARRAY, entry.item, len(entry.value))
        return head + items
    return head + struct.pack("<I", entry.type) + _value(entry.type, entry.value)


def _value(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _string(value if isinstance(value, bytes) else str(value).encode("utf-8", "replace"))
    code = _CODES[kind]
    if code in "fd":
        number = float(value) if isinstance(value, int | float) else 0.0
        if code == "f":
            with np.errstate(over="ignore"):
                return np.float32(number).tobytes()
        return struct.pack("<d", number)
    number = int(value) if isinstance(value, int) else 0
    size = struct.calcsize(code)
    return (number % (1 << 8 * size)).to_bytes(size, "little")


def _string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data
