"""Reads and writes one sequence's keys and values in llama.cpp's own format.

Format: state_seq_get_data of llama-context.cpp and llama_kv_cache::state_write of
llama-kv-cache.cpp, for a KV cache with values stored as rows (flash attention), little endian:

    u32 magic, i32 sequence
    u32 streams
    for each stream: u32 cells, and if there are any:
        for each cell: i32 position, u32 sequences (1), i32 sequence
        u32 values are transposed (0), u32 layers
        for each layer: i32 type, u64 bytes per row, the keys' rows
        for each layer: i32 type, u64 bytes per row, the values' rows

A unified cache has one stream, any other one for each sequence, and only that of the state's
sequence has cells.

llama.cpp does not guarantee this format, so any deviation is an error.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import FormatError, LibraryError
from gritlite.runtime.engine import KeyValues

F16 = 1  # GGML_TYPE_F16
_MAGIC = 0xAF143CD8
_HEAD = struct.Struct("<II")
_COUNT = struct.Struct("<I")
_CELL = np.dtype([("position", "<i4"), ("sequences", "<u4"), ("sequence", "<i4")])
_ROWS = struct.Struct("<iQ")
_HALF = np.dtype("<f2")


def read_sequence(
    data: bytes, head_dims: tuple[int, int], *, streams: int = 1, first: int = 0
) -> KeyValues:
    """Return the keys and values of a state from `Context.save`, as views of it.

    `head_dims` are the lengths of a head's key and value, `streams` the number of the cache's
    streams, `first` the position of the first token. Raises LibraryError if this llama.cpp
    uses another format.
    """
    try:
        return _read(data, head_dims, streams, first)
    except (ValueError, struct.error) as error:
        raise LibraryError(
            f"this llama.cpp writes key-value states in another format ({error}): this version of "
            "llama-cpp-python is not supported"
        ) from error


def _read(data: bytes, head_dims: tuple[int, int], streams: int, first: int) -> KeyValues:
    magic, _ = _HEAD.unpack_from(data)
    _expect("magic", magic, _MAGIC)
    (found,) = _COUNT.unpack_from(data, _HEAD.size)
    _expect("streams", found, streams)
    cells, offset, empty = 0, _HEAD.size + _COUNT.size, -1
    while not cells and empty + 1 < streams:
        (cells,) = _COUNT.unpack_from(data, offset)
        offset, empty = offset + _COUNT.size, empty + 1
    table = np.frombuffer(data, _CELL, cells, offset)
    _expect("sequences of a cell", set(table["sequences"].tolist()), {1})
    order = np.argsort(table["position"])  # joined states may be stored in another order
    _expect("positions", bool((table["position"][order] == first + np.arange(cells)).all()), True)
    in_order = bool((order == np.arange(cells)).all())
    offset += table.nbytes
    transposed, layers = _HEAD.unpack_from(data, offset)
    _expect("transposed values", transposed, 0)
    offset += _HEAD.size
    arrays: list[NDArray[np.float16]] = []
    for number in range(2 * layers):
        type, size = _ROWS.unpack_from(data, offset)
        _expect("number type", type, F16)
        offset += _ROWS.size
        numbers = np.frombuffer(data, _HALF, cells * size // _HALF.itemsize, offset)
        array = numbers.reshape(cells, -1, head_dims[number >= layers])
        arrays.append(array if in_order else array[order])
        offset += cells * size
    _expect("length", len(data), offset + _COUNT.size * (streams - 1 - empty))
    return KeyValues(tuple(arrays[:layers]), tuple(arrays[layers:]))


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise ValueError(f"{what}: {found} instead of {wanted}")


def write_sequence(state: KeyValues, first: int = 0, *, streams: int = 1) -> bytes:
    """Return a state for `Context.restore`, with tokens at the positions from `first` on.

    `streams` is the number of the cache's streams; `restore` chooses the sequence's.

    Raises FormatError unless all arrays are float16 with the same number of tokens, 1 or more.
    """
    arrays = (*state.keys, *state.values)
    if not state.keys or not state.tokens:
        raise FormatError("the key-value state is empty")
    if any(array.dtype != _HALF or len(array) != state.tokens for array in arrays):
        raise FormatError("the key-value state is not float16 with one row per token")
    table = np.zeros(state.tokens, _CELL)
    table["position"] = np.arange(first, first + state.tokens)
    table["sequences"] = 1
    parts: list[bytes | memoryview] = [
        _HEAD.pack(_MAGIC, 0),
        _HEAD.pack(streams, state.tokens),
        table.tobytes(),
        _HEAD.pack(0, len(state.keys)),
    ]
    for array in arrays:
        rows = np.ascontiguousarray(array).reshape(state.tokens, -1)
        parts += [_ROWS.pack(F16, rows.shape[1] * _HALF.itemsize), rows.view(np.uint8).data]
    parts.append(bytes(_COUNT.size * (streams - 1)))  # the other streams have no cells
    return b"".join(parts)
