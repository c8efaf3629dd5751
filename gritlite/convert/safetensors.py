"""A strict reader of safetensors headers: a file's tensors and their offsets.

Format: the safetensors README (github.com/huggingface/safetensors), with the checks
of the official library: every byte of the data belongs to exactly one tensor. The
module does not know models and never reads tensor data.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from gritlite.convert.json_files import shown
from gritlite.errors import FileError, FormatError
from gritlite.system.reading import open_regular

AGAIN = "download it again"
MAX_HEADER_BYTES = 100_000_000  # the limit of the official library

MAX_DIMENSIONS, MAX_SIZE = 8, 2**48
FLOATS = ("F32", "F16", "BF16")
# dtype: bytes per value
DTYPES: Mapping[str, int] = MappingProxyType({"F32": 4, "F16": 2, "BF16": 2, "I32": 4})


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file. `start` is the offset of its first byte in the file."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def itemsize(self) -> int:
        """Bytes per value."""
        return DTYPES[self.dtype]

    @property
    def size(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape) * self.itemsize


def read_header(path: Path, dtypes: Collection[str] = FLOATS) -> dict[str, TensorEntry]:
    """Read the tensors of a safetensors file by name; `dtypes` are those it may have.

    Raises FileError if the file cannot be read, and FormatError, naming the tensor, if
    it is truncated or its header contradicts itself or the file's size.
    """
    header, data_start, size = _read(path)
    header.pop("__metadata__", None)
    entries = {
        name: _entry(path, name, fields, dtypes, data_start, size - data_start)
        for name, fields in header.items()
    }
    _check_offsets(path, entries, data_start, size)
    return entries


def read_metadata(path: Path) -> Mapping[str, Any]:
    """Read what a file says of itself beside its tensors. Raises as `read_header`."""
    metadata = _read(path)[0].get("__metadata__")
    return metadata if isinstance(metadata, dict) else {}


def _read(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the parsed header, where the data begins, and the file's size."""
    with BufferedReader(open_regular(path)) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                _refuse(path, "is truncated: its header needs more bytes than the file has", AGAIN)
            if length > MAX_HEADER_BYTES:
                _refuse(path, f"has a header of {length} bytes, more than {MAX_HEADER_BYTES}")
            header = _parse(path, file.read(length))
        except OSError as error:
            raise FileError(f"cannot read {path}: {error.strerror}") from error
    return header, 8 + length, size


def _parse(path: Path, header: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            _refuse(path, f"lists {shown(counts.most_common(1)[0][0])} twice")
        return result

    try:
        parsed = json.loads(header, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        _refuse(path, "has a header that is not JSON")
    if not isinstance(parsed, dict):
        _refuse(path, "has a header that is not a JSON object")
    return parsed


def _entry(
    path: Path,
    name: str,
    fields: Any,
    dtypes: Collection[str],
    data_start: int,
    data_size: int,
) -> TensorEntry:
    if not isinstance(fields, dict):
        _refuse(path, f"describes {shown(name)} with something other than a JSON object")
    dtype = fields.get("dtype")
    if not isinstance(dtype, str) or dtype not in dtypes:
        _refuse(
            path,
            f"stores {shown(name)} as {shown(dtype)}: only {', '.join(dtypes)} can be converted",
            advice="save the checkpoint unquantized in one of them",
        )
    shape = _sizes(path, name, fields.get("shape"))
    offsets = _sizes(path, name, fields.get("data_offsets"))
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        _refuse(path, f"places {shown(name)} at {list(offsets)}, which is not a range of bytes")
    start, end = offsets
    if end > data_size:
        _refuse(
            path,
            f"is truncated: {shown(name)} ends at byte {data_start + end}, "
            f"the file at {data_start + data_size}",
            AGAIN,
        )
    entry = TensorEntry(path, name, dtype, shape, data_start + start)
    if entry.size != end - start:
        _refuse(
            path,
            f"gives {shown(name)} {end - start} bytes, but {dtype} of shape {list(shape)} "
            f"needs {entry.size}",
        )
    return entry


def _sizes(path: Path, name: str, value: Any) -> tuple[int, ...]:
    # type() and not isinstance(): True is an int
    if (
        not isinstance(value, list)
        or len(value) > MAX_DIMENSIONS
        or not all(type(item) is int and 0 <= item < MAX_SIZE for item in value)
    ):
        _refuse(path, f"describes {shown(name)} with {shown(value)} instead of a list of numbers")
    return tuple(value)


def _check_offsets(path: Path, entries: Mapping[str, TensorEntry], start: int, end: int) -> None:
    position = start
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.size)):
        if entry.start < position:
            _refuse(path, f"places {shown(entry.name)} so that it overlaps the tensor before it")
        if entry.start > position:
            _refuse(path, f"has unused bytes before {shown(entry.name)}")
        position += entry.size
    if position != end:
        _refuse(path, f"has {end - position} bytes that belong to no tensor")


def _refuse(
    path: Path, problem: str, advice: str = "save the checkpoint again with safetensors"
) -> NoReturn:
    raise FormatError(f"{path} {problem}: {advice}")
