"""The values of GGUF metadata: their types, and reading them.

Format: ggml's docs/gguf.md. Arrays of arrays are refused, as in llama.cpp. The
module does not know what a key means.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite.modelfile.byte_reader import ByteReader

Value = bool | int | float | str | list[str] | NDArray[Any]

# llama.cpp allows 2**30; no tokenizer comes near this
MAX_ARRAY_ITEMS = 1 << 24

U32_TYPE = 4
F32_TYPE = 6
BOOL_TYPE = 7
STRING_TYPE = 8
ARRAY_TYPE = 9
# number: (name, struct and numpy code); strings and arrays have no code
VALUE_TYPES: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("u8", "<u1"),
        1: ("i8", "<i1"),
        2: ("u16", "<u2"),
        3: ("i16", "<i2"),
        U32_TYPE: ("u32", "<u4"),
        5: ("i32", "<i4"),
        F32_TYPE: ("f32", "<f4"),
        BOOL_TYPE: ("bool", "<u1"),
        STRING_TYPE: ("str", ""),
        ARRAY_TYPE: ("arr", ""),
        10: ("u64", "<u8"),
        11: ("i64", "<i8"),
        12: ("f64", "<f8"),
    }
)


def read_value(reader: ByteReader, key: str) -> tuple[str, Value]:
    """Read the next type and value: the type's name ("u32", "arr[str]") and the value.

    Raises FormatError, naming `key`, for a type that is unknown or does not fit the value.
    """
    what = f"the value of {key!r}"
    start = reader.position
    number = reader.u32(what)
    if number == STRING_TYPE:
        return "str", reader.string(what)
    if number == ARRAY_TYPE:
        return _read_array(reader, key)
    name, code = _value_type(reader, number, key, start)
    value = np.frombuffer(reader.bytes(int(code[2]), what), code)
    if number == BOOL_TYPE:
        return name, _booleans(reader, value, key).item()
    return name, value.item()


def _read_array(reader: ByteReader, key: str) -> tuple[str, Value]:
    what = f"the array {key!r}"
    start = reader.position
    number = reader.u32(what)
    name, code = _value_type(reader, number, key, start)
    if number == ARRAY_TYPE:
        reader.fail(f"{what} contains arrays, which llama.cpp does not read", start)
    count = reader.u64(what)
    smallest = int(code[2]) if code else 8
    if count > MAX_ARRAY_ITEMS:
        reader.fail(f"{what} claims {count:,} items, more than {MAX_ARRAY_ITEMS:,}", start)
    reader.require(count * smallest, what)
    if number == STRING_TYPE:
        return "arr[str]", reader.strings(count, what)
    values = np.frombuffer(reader.bytes(count * smallest, what), code)
    if number == BOOL_TYPE:
        values = _booleans(reader, values, key)
    return f"arr[{name}]", values


def _value_type(reader: ByteReader, number: int, key: str, start: int) -> tuple[str, str]:
    if number not in VALUE_TYPES:
        reader.fail(f"metadata key {key!r} has the unknown value type {number}", start)
    return VALUE_TYPES[number]


def _booleans(reader: ByteReader, values: NDArray[Any], key: str) -> NDArray[np.bool_]:
    if values.size and values.max() > 1:
        reader.fail(f"metadata key {key!r} has a boolean that is neither 0 nor 1")
    return values.astype(np.bool_)
