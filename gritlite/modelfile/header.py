"""A strict reader of GGUF headers: metadata and the tensors' names, shapes and places.

Format: ggml's docs/gguf.md, with the rules llama.cpp enforces (ggml/src/gguf.cpp,
llama-model-loader.cpp). Every count, length and offset is held against the file's
size before anything is allocated. The module does not know what a key or a
tensor means (`check` does) and never reads tensor data.
"""

import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import FileError, FormatError
from gritlite.modelfile.types import BLOCKS, GGMLType

Value = bool | int | float | str | list[str] | NDArray[Any]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
ALIGNMENT_KEY = "general.alignment"

# llama.cpp allows 2**30 of each; no tokenizer or template comes near these
MAX_STRING_BYTES = 1 << 26
MAX_ARRAY_ITEMS = 1 << 24
MAX_KEY_BYTES = (1 << 16) - 1  # docs/gguf.md
MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME with its closing zero
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
MAX_ELEMENTS = (1 << 63) - 1

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
SMALLEST_ENTRY = 8 + 1 + 4 + 1  # key length, key, type, value
SMALLEST_TENSOR = 8 + 4 + 4 + 8  # name length, dimensions, type, offset

ADVICE = "download or convert the model again"


@dataclass(frozen=True)
class MetadataEntry:
    """Where a metadata key stands: bytes `start` to `end` of the file, and its type.

    `type` is a name of docs/gguf.md in short: "u32", "str", "arr[str]".
    """

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: `shape` in numpy's order (rows, row length), data at `offset` of the file."""

    name: str
    type: GGMLType
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True)
class GGUFFile:
    """A file's header.

    `metadata` holds Python scalars, strings, lists of strings and numpy arrays;
    bytes of a listed string that are not UTF-8 stand as surrogate escapes, so that
    `text.encode("utf-8", "surrogateescape")` gives the file's own bytes. `entries`
    has the same keys. Tensor descriptions begin at byte `tensors_offset` and end at
    `tensors_end`; data begins at `data_offset`.
    """

    path: Path
    size: int
    version: int
    alignment: int
    metadata: Mapping[str, Value]
    entries: Mapping[str, MetadataEntry]
    tensors: tuple[TensorInfo, ...]
    tensors_offset: int
    tensors_end: int
    data_offset: int


def read_header(path: Path) -> GGUFFile:
    """Read and check the header of a GGUF file, version 2 or 3, little endian.

    Raises FileError if the file cannot be read, FormatError if it is cut short or
    anything in its header contradicts the format.
    """
    with _opened(path) as (file, size):
        return _read(_Reader(path, file, size))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    if "\0" in str(path):
        raise FileError(f"{str(path)!r} holds a zero byte, which no file name can")
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileError(f"{path} is a folder: name a GGUF file")
        if not stat.S_ISREG(status.st_mode):
            raise FileError(f"{path} is not a regular file: name a GGUF file")
        with open(path, "rb", buffering=1 << 18) as file:
            yield file, status.st_size
    except FileNotFoundError:
        raise FileError(f"{path} does not exist") from None
    except PermissionError:
        raise FileError(f"no permission to read {path}") from None
    except OSError as error:
        raise FileError(f"cannot read {path}: {error}") from None


class _Reader:
    """The file, the position in it, and what is said when they disagree."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path = path
        self.size = size
        self.position = 0
        self._file = file

    def fail(self, what: str, position: int | None = None) -> NoReturn:
        at = self.position if position is None else position
        raise FormatError(f"{self.path}: {what} (at byte {at}): {ADVICE}")

    def bytes(self, count: int, what: str) -> bytes:
        if count > self.size - self.position:
            self.cut_short(self.position + count, what)
        data = self._file.read(count)
        if len(data) != count:
            self.cut_short(self.position + count, what)
        self.position += count
        return data

    def cut_short(self, needed: int, what: str) -> NoReturn:
        raise FormatError(
            f"{self.path} is cut short or damaged: {what} needs {needed:,} bytes, "
            f"the file has {self.size:,}: {ADVICE}"
        )

    def u32(self, what: str) -> int:
        return int.from_bytes(self.bytes(4, what), "little")

    def u64(self, what: str) -> int:
        return int.from_bytes(self.bytes(8, what), "little")

    def string(self, what: str, limit: int) -> str:
        start = self.position
        length = self.u64(what)
        if length > limit:
            self.fail(f"{what} is said to be {length:,} bytes long, more than {limit:,}", start)
        try:
            return self.bytes(length, what).decode("utf-8")
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8", start)

    def name(self, what: str, limit: int) -> str:
        start = self.position
        name = self.string(what, limit)
        if not name or "\0" in name:
            self.fail(f"{what} is empty or holds a zero byte", start)
        return name

    def strings(self, count: int, what: str) -> list[str]:
        """`count` strings, 100,000 in about 0.05 s: one look-up per name, checks in line."""
        read, from_bytes, size = self._file.read, int.from_bytes, self.size
        position = self.position
        result = []
        for _ in range(count):
            length = from_bytes(read(8), "little")
            position += 8 + length
            if length > MAX_STRING_BYTES or position > size:
                self.cut_short(position, what)
            result.append(read(length).decode("utf-8", "surrogateescape"))
        if self._file.tell() != position:  # the file shrank meanwhile
            self.cut_short(position, what)
        self.position = position
        return result


def _read(reader: _Reader) -> GGUFFile:
    version = _read_version(reader)
    tensor_count = reader.u64("the tensor count")
    entry_count = reader.u64("the metadata count")
    _check_counts(reader, tensor_count, entry_count)

    metadata: dict[str, Value] = {}
    entries: dict[str, MetadataEntry] = {}
    for _ in range(entry_count):
        start = reader.position
        key = reader.name("a metadata key", MAX_KEY_BYTES)
        if key in metadata:
            reader.fail(f"the metadata key {key!r} stands twice", start)
        type_name, metadata[key] = _read_value(reader, key)
        entries[key] = MetadataEntry(type_name, start, reader.position)

    alignment = _alignment(reader, metadata, entries)
    tensors_offset = reader.position
    relative = _read_tensors(reader, tensor_count)
    tensors_end = reader.position
    data_offset = _padded(tensors_end, alignment) if tensor_count else tensors_end
    return GGUFFile(
        path=reader.path,
        size=reader.size,
        version=version,
        alignment=alignment,
        metadata=MappingProxyType(metadata),
        entries=MappingProxyType(entries),
        tensors=_placed(reader, relative, data_offset, alignment),
        tensors_offset=tensors_offset,
        tensors_end=tensors_end,
        data_offset=data_offset,
    )


def _read_version(reader: _Reader) -> int:
    magic = reader.bytes(min(4, reader.size), "the magic number")
    if magic != MAGIC:
        raise FormatError(
            f"{reader.path} is not a GGUF file (it begins with {magic!r}): name a GGUF file, "
            "or make one with  gritlite convert"
        )
    version = reader.u32("the version")
    if version in VERSIONS:
        return version
    if version & 0xFFFF == 0 and version:
        raise FormatError(
            f"{reader.path} is a big-endian GGUF file: swap its bytes with gguf's "
            "gguf-convert-endian, or convert the model again on this kind of machine"
        )
    raise FormatError(
        f"{reader.path} is of GGUF version {version}; this program reads versions 2 and 3: "
        "convert the model again"
    )


def _check_counts(reader: _Reader, tensor_count: int, entry_count: int) -> None:
    for count, smallest, what in (
        (entry_count, SMALLEST_ENTRY, "metadata keys"),
        (tensor_count, SMALLEST_TENSOR, "tensors"),
    ):
        if count * smallest > reader.size - reader.position:
            reader.cut_short(reader.position + count * smallest, f"a header of {count:,} {what}")


def _read_value(reader: _Reader, key: str) -> tuple[str, Value]:
    """The type's name and the value that stand at the reader's position."""
    what = f"the value of {key!r}"
    start = reader.position
    number = reader.u32(what)
    if number == STRING_TYPE:
        return "str", reader.string(what, MAX_STRING_BYTES)
    if number == ARRAY_TYPE:
        return _read_array(reader, key)
    name, code = _value_type(reader, number, key, start)
    value = np.frombuffer(reader.bytes(int(code[2]), what), code)
    if number == BOOL_TYPE:
        return name, _booleans(reader, value, key).item()
    return name, value.item()


def _read_array(reader: _Reader, key: str) -> tuple[str, Value]:
    what = f"the array {key!r}"
    start = reader.position
    number = reader.u32(what)
    name, code = _value_type(reader, number, key, start)
    if number == ARRAY_TYPE:
        reader.fail(f"{what} holds arrays, which llama.cpp does not read", start)
    count = reader.u64(what)
    smallest = int(code[2]) if code else 8
    if count > MAX_ARRAY_ITEMS:
        reader.fail(f"{what} is said to hold {count:,} items, more than {MAX_ARRAY_ITEMS:,}", start)
    if count * smallest > reader.size - reader.position:
        reader.cut_short(reader.position + count * smallest, what)
    if number == STRING_TYPE:
        return "arr[str]", reader.strings(count, what)
    values = np.frombuffer(reader.bytes(count * smallest, what), code)
    if number == BOOL_TYPE:
        values = _booleans(reader, values, key)
    return f"arr[{name}]", values


def _value_type(reader: _Reader, number: int, key: str, start: int) -> tuple[str, str]:
    if number not in VALUE_TYPES:
        reader.fail(f"metadata key {key!r} has the unknown value type {number}", start)
    return VALUE_TYPES[number]


def _booleans(reader: _Reader, values: NDArray[Any], key: str) -> NDArray[np.bool_]:
    if values.size and values.max() > 1:
        reader.fail(f"metadata key {key!r} holds a truth value that is neither 0 nor 1")
    return values.astype(np.bool_)


def _alignment(
    reader: _Reader, metadata: Mapping[str, Value], entries: Mapping[str, MetadataEntry]
) -> int:
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    entry = entries.get(ALIGNMENT_KEY)
    if entry is None:
        return DEFAULT_ALIGNMENT
    # docs/gguf.md wants a multiple of 8, llama.cpp a power of two
    if entry.type != "u32" or not isinstance(alignment, int):
        reader.fail(f"{ALIGNMENT_KEY} is of type {entry.type}, not u32", entry.start)
    if alignment < 8 or alignment & (alignment - 1):
        reader.fail(f"{ALIGNMENT_KEY} is {alignment}, not a power of two from 8 up", entry.start)
    return alignment


def _read_tensors(reader: _Reader, count: int) -> list[TensorInfo]:
    """Tensor descriptions with offsets as they stand in the file: from the data's begin."""
    tensors: list[TensorInfo] = []
    seen: set[str] = set()
    for _ in range(count):
        start = reader.position
        name = reader.name("a tensor's name", MAX_TENSOR_NAME_BYTES)
        if name in seen:
            reader.fail(f"the tensor {name!r} stands twice", start)
        seen.add(name)
        tensors.append(_read_tensor(reader, name, start))
    return tensors


def _read_tensor(reader: _Reader, name: str, start: int) -> TensorInfo:
    what = f"the description of tensor {name!r}"
    dimensions = reader.u32(what)
    if dimensions > MAX_DIMENSIONS:
        reader.fail(f"tensor {name!r} has {dimensions:,} dimensions, more than 4", start)
    lengths = struct.unpack(f"<{dimensions}Q", reader.bytes(8 * dimensions, what))
    number = reader.u32(what)
    offset = reader.u64(what)
    if number not in BLOCKS:
        reader.fail(f"tensor {name!r} has the unknown type {number}", start)
    tensor_type = GGMLType(number)
    block, block_bytes = BLOCKS[tensor_type]
    row = lengths[0] if lengths else 1
    if row % block:
        reader.fail(
            f"tensor {name!r} has rows of {row:,} numbers, which {tensor_type.name} cannot hold "
            f"(a multiple of {block} is needed)",
            start,
        )
    elements = 1
    for length in lengths:
        elements *= length
    size = elements // block * block_bytes
    if max((elements, size, *lengths)) > MAX_ELEMENTS:
        reader.fail(f"tensor {name!r} of shape {lengths[::-1]} is impossibly large", start)
    return TensorInfo(name, tensor_type, lengths[::-1], offset, size)


def _placed(
    reader: _Reader, relative: list[TensorInfo], data_offset: int, alignment: int
) -> tuple[TensorInfo, ...]:
    """The tensors with offsets in the file, each directly behind the one before it.

    llama.cpp demands exactly that order; padding after the last tensor may be absent.
    """
    placed = []
    expected = 0
    for info in relative:
        if info.offset != expected:
            raise FormatError(
                f"{reader.path}: tensor {info.name!r} has offset {info.offset:,} where "
                f"{expected:,} is expected: {ADVICE}"
            )
        end = data_offset + expected + info.size
        if end > reader.size:
            reader.cut_short(end, f"tensor {info.name!r}")
        placed.append(
            TensorInfo(info.name, info.type, info.shape, data_offset + expected, info.size)
        )
        expected = _padded(expected + info.size, alignment)
    return tuple(placed)


def _padded(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
