"""One sequence's key-value cells in llama.cpp's own form, taken apart and put together.

Form: state_seq_get_data of llama-context.cpp and llama_kv_cache::state_write of
llama-kv-cache.cpp, for a memory that is one stream and keeps values as rows
(flash attention), little endian:

    u32 magic, i32 sequence
    u32 streams (1), u32 cells
    for each cell: i32 position, u32 sequences (1), i32 sequence
    u32 values are transposed (0), u32 layers
    for each layer: i32 type, u64 bytes of a row, the keys' rows
    for each layer: i32 type, u64 bytes of a row, the values' rows

llama.cpp promises nothing about it, so whatever is otherwise is refused.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import LibraryError

F16 = 1  # GGML_TYPE_F16
_MAGIC = 0xAF143CD8
_HEAD = struct.Struct("<II")
_CELL = np.dtype([("position", "<i4"), ("sequences", "<u4"), ("sequence", "<i4")])
_ROWS = struct.Struct("<iQ")


@dataclass(frozen=True)
class SequenceState:
    """Keys and values of the cells at positions 0 to n - 1.

    `rows` are uint8 [n, bytes of a row], float16 numbers: of the keys layer by
    layer, then of the values.
    """

    rows: tuple[NDArray[np.uint8], ...]

    @property
    def cells(self) -> int:
        """The number of cells, n."""
        return len(self.rows[0])


def read_sequence(data: bytes) -> SequenceState:
    """Take a state of `Context.save` apart; the rows are views of it.

    Raises LibraryError if this llama.cpp lays it out otherwise.
    """
    try:
        return _read(data)
    except (ValueError, struct.error) as error:
        raise LibraryError(
            f"this llama.cpp writes key-value states in another form ({error}): this version of "
            "llama-cpp-python is not supported"
        ) from error


def _read(data: bytes) -> SequenceState:
    magic, _ = _HEAD.unpack_from(data)
    _expect("magic", magic, _MAGIC)
    streams, cells = _HEAD.unpack_from(data, _HEAD.size)
    _expect("streams", streams, 1)
    place = 2 * _HEAD.size
    table = np.frombuffer(data, _CELL, cells, place)
    _expect("sequences of a cell", set(table["sequences"].tolist()), {1})
    _expect("positions", bool((table["position"] == np.arange(cells)).all()), True)
    place += table.nbytes
    transposed, layers = _HEAD.unpack_from(data, place)
    _expect("transposed values", transposed, 0)
    place += _HEAD.size
    rows = []
    for _ in range(2 * layers):
        type, size = _ROWS.unpack_from(data, place)
        _expect("number type", type, F16)
        place += _ROWS.size
        rows.append(np.frombuffer(data, np.uint8, cells * size, place).reshape(cells, size))
        place += cells * size
    _expect("length", len(data), place)
    return SequenceState(tuple(rows))


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise ValueError(f"{what}: {found} instead of {wanted}")


def without_first(data: bytes, cells: int) -> bytes:
    """A state of `Context.save` without its first cells; the others stay at their positions."""
    rows = read_sequence(data).rows
    return write_sequence(SequenceState(tuple(each[cells:] for each in rows)), first=cells)


def write_sequence(state: SequenceState, first: int = 0) -> bytes:
    """What `Context.restore` takes, with the cells at the positions from `first` on."""
    table = np.zeros(state.cells, _CELL)
    table["position"] = np.arange(first, first + state.cells)
    table["sequences"] = 1
    parts: list[bytes | memoryview] = [
        _HEAD.pack(_MAGIC, 0),
        _HEAD.pack(1, state.cells),
        table.tobytes(),
        _HEAD.pack(0, len(state.rows) // 2),
    ]
    for rows in state.rows:
        parts += [_ROWS.pack(F16, rows.shape[1]), np.ascontiguousarray(rows).data]
    return b"".join(parts)
