"""A strict reader of GGUF headers: metadata and the tensors' names, shapes and offsets.

Format: ggml's docs/gguf.md, with the rules llama.cpp enforces (ggml/src/gguf.cpp,
llama-model-loader.cpp). Every count and offset is checked against the file's size
before anything is allocated. The module does not know what a key or a tensor means
(`check` does) and never reads tensor data.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gritlite.errors import FormatError
from gritlite.modelfile.byte_reader import ADVICE, ByteReader, open_reader
from gritlite.modelfile.metadata_values import Value, read_value
from gritlite.modelfile.types import BLOCKS, GGMLType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
ALIGNMENT_KEY = "general.alignment"

MAX_KEY_BYTES = (1 << 16) - 1  # docs/gguf.md
MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME with its closing zero
MAX_METADATA_BYTES = 1 << 28  # ten times those of the largest vocabularies
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
MAX_ELEMENTS = (1 << 63) - 1

SMALLEST_ENTRY = 8 + 1 + 4 + 1  # key length, key, type, value
SMALLEST_TENSOR = 8 + 4 + 4 + 8  # name length, dimensions, type, offset


@dataclass(frozen=True)
class MetadataEntry:
    """Where a metadata key lies: bytes `start` to `end` of the file, and its value's type.

    `type` is a short name of a type in docs/gguf.md: "u32", "str", "arr[str]".
    """

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: `shape` in numpy's order (rows, row length), `size` bytes at `offset`."""

    name: str
    type: GGMLType
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """The number of values."""
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True)
class GGUFFile:
    """A file's header.

    `metadata` holds Python scalars, strings, lists of strings and numpy arrays. Bytes
    that are not UTF-8 in a list of strings are surrogate escapes:
    `text.encode("utf-8", "surrogateescape")` restores them. `entries` has the same
    keys. Tensor descriptions lie in bytes `tensors_offset` to `tensors_end`; tensor
    data starts at `data_offset`.
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

    Raises FileError if the file cannot be read, FormatError if it is truncated or
    its header contradicts the format.
    """
    with open_reader(path) as reader:
        return _read(reader)


def _read(reader: ByteReader) -> GGUFFile:
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
            reader.fail(f"the metadata key {key!r} appears twice", start)
        type_name, metadata[key] = read_value(reader, key)
        entries[key] = MetadataEntry(type_name, start, reader.position)
        if reader.position > MAX_METADATA_BYTES:
            reader.fail(f"its metadata has more than {MAX_METADATA_BYTES >> 20} MiB", start)

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
        tensors=_locate_tensors(reader, relative, data_offset, alignment),
        tensors_offset=tensors_offset,
        tensors_end=tensors_end,
        data_offset=data_offset,
    )


def _quoted(magic: bytes) -> str:
    """Return the first bytes of a file for a message: as text if they are, else in hexadecimal."""
    if not magic:
        return "nothing: it is empty"
    text = magic.decode("ascii", "replace")
    return f'"{text}"' if text.isprintable() and text.isascii() else f"the bytes {magic.hex(' ')}"


def _read_version(reader: ByteReader) -> int:
    magic = reader.bytes(min(4, reader.size), "the magic number")
    if magic != MAGIC:
        raise FormatError(
            f"{reader.path} is not a GGUF file (it starts with {_quoted(magic)}): "
            "name one, or make one with  gritlite convert"
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
        f"{reader.path} has GGUF version {version}, but only versions 2 and 3 can be read: "
        "convert the model again"
    )


def _check_counts(reader: ByteReader, tensor_count: int, entry_count: int) -> None:
    for count, smallest, what in (
        (entry_count, SMALLEST_ENTRY, "metadata keys"),
        (tensor_count, SMALLEST_TENSOR, "tensors"),
    ):
        reader.require(count * smallest, f"a header of {count:,} {what}")


def _alignment(
    reader: ByteReader, metadata: Mapping[str, Value], entries: Mapping[str, MetadataEntry]
) -> int:
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    entry = entries.get(ALIGNMENT_KEY)
    if entry is None:
        return DEFAULT_ALIGNMENT
    # docs/gguf.md wants a multiple of 8, llama.cpp a power of two
    if entry.type != "u32" or not isinstance(alignment, int):
        reader.fail(f"{ALIGNMENT_KEY} is of type {entry.type}, not u32", entry.start)
    if alignment < 8 or alignment & (alignment - 1):
        reader.fail(
            f"{ALIGNMENT_KEY} is {alignment}, not a power of two of at least 8", entry.start
        )
    return alignment


def _read_tensors(reader: ByteReader, count: int) -> list[TensorInfo]:
    """Read the tensor descriptions; their offsets count from the start of the data."""
    tensors: list[TensorInfo] = []
    seen: set[str] = set()
    for _ in range(count):
        start = reader.position
        name = reader.name("a tensor's name", MAX_TENSOR_NAME_BYTES)
        if name in seen:
            reader.fail(f"the tensor {name!r} appears twice", start)
        seen.add(name)
        tensors.append(_read_tensor(reader, name, start))
    return tensors


def _read_tensor(reader: ByteReader, name: str, start: int) -> TensorInfo:
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
            f"tensor {name!r} has rows of {row:,} values, but {tensor_type.name} needs "
            f"a multiple of {block}",
            start,
        )
    elements = 1
    for length in lengths:
        elements *= length
    size = elements // block * block_bytes
    if max((elements, size, *lengths)) > MAX_ELEMENTS:
        reader.fail(f"tensor {name!r} of shape {lengths[::-1]} is impossibly large", start)
    return TensorInfo(name, tensor_type, lengths[::-1], offset, size)


def _locate_tensors(
    reader: ByteReader, relative: list[TensorInfo], data_offset: int, alignment: int
) -> tuple[TensorInfo, ...]:
    """Turn offsets in the data into offsets in the file.

    llama.cpp requires each tensor to follow the one before it without a gap; padding
    after the last one may be absent.
    """
    located = []
    expected = 0
    for info in relative:
        if info.offset != expected:
            raise FormatError(
                f"{reader.path}: tensor {info.name!r} has offset {info.offset:,} where "
                f"{expected:,} is expected: {ADVICE}"
            )
        end = data_offset + expected + info.size
        if end > reader.size:
            reader.fail_truncated(end, f"tensor {info.name!r}")
        located.append(
            TensorInfo(info.name, info.type, info.shape, data_offset + expected, info.size)
        )
        expected = _padded(expected + info.size, alignment)
    return tuple(located)


def _padded(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
