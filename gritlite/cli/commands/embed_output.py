"""Writing vectors to .npy, .jsonl and .parquet files, or as JSON Lines to standard output.

Rows are written as they arrive; only a Parquet row group is kept in memory.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gritlite.errors import MissingExtraError, UsageError
from gritlite.system.files import atomic_write, check_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Write = Callable[[NDArray[np.float32]], None]
    Format = Callable[[BinaryIO, int], AbstractContextManager[Write]]

COLUMN = "embedding"
_ROW_GROUP_BYTES = 16 * 2**20


def check_destination(path: Path | None, *, force: bool) -> None:
    """Fail early if vectors cannot be written to `path`; None is standard output.

    Raises UsageError for an unknown suffix, MissingExtraError for a format whose
    package is missing, and what `check_output` raises.
    """
    if path is None:
        return
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: cannot tell the format: end the name in {', '.join(FORMATS)}")
    if path.suffix == ".parquet":
        _import_pyarrow()
    check_output(path, force=force)


@contextlib.contextmanager
def open_writer(path: Path | None, dimension: int, *, force: bool) -> "Iterator[Write]":
    """A function that writes float32 [k, dimension] and can be called repeatedly.

    The file appears when the block ends without an exception. Raises what `atomic_write`
    raises.
    """
    if path is None:
        with _jsonl(sys.stdout.buffer, dimension) as write:
            yield write
        return
    with atomic_write(path, force=force) as file, FORMATS[path.suffix](file, dimension) as write:
        yield write


@contextlib.contextmanager
def _npy(file: BinaryIO, dimension: int) -> "Iterator[Write]":
    """NumPy's format. The header is written again when the number of rows is known."""
    from numpy.lib import format as npy

    rows = 0

    def header() -> None:
        file.seek(0)
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
        npy.write_array_header_1_0(file, shape)

    def write(vectors: "NDArray[np.float32]") -> None:
        nonlocal rows
        rows += len(vectors)
        file.write(vectors.astype("<f4", copy=False).tobytes())

    header()
    yield write
    header()


@contextlib.contextmanager
def _jsonl(file: BinaryIO, dimension: int) -> "Iterator[Write]":  # noqa: ARG001
    """One object for each line; nine digits restore every float32 exactly."""

    def write(vectors: "NDArray[np.float32]") -> None:
        for vector in vectors.tolist():
            numbers = ", ".join(["%.9g" % number for number in vector])  # noqa: UP031 - twice as fast
            file.write(f'{{"{COLUMN}": [{numbers}]}}\n'.encode())
        file.flush()

    yield write


@contextlib.contextmanager
def _parquet(file: BinaryIO, dimension: int) -> "Iterator[Write]":
    """One column of fixed-size lists, in row groups of limited size."""
    _import_pyarrow()
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(COLUMN, pa.list_(pa.float32(), dimension), nullable=False)])
    held: list[NDArray[np.float32]] = []

    def flush() -> None:
        if held:
            flat = pa.array(np.concatenate(held).ravel())
            column = pa.FixedSizeListArray.from_arrays(flat, dimension)
            writer.write_table(pa.table([column], schema=schema))
            held.clear()

    def write(vectors: "NDArray[np.float32]") -> None:
        held.append(vectors)
        if sum(part.nbytes for part in held) >= _ROW_GROUP_BYTES:
            flush()

    with pq.ParquetWriter(file, schema, use_dictionary=False) as writer:
        yield write
        flush()


def _import_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", "writing Parquet") from error


FORMATS: "Mapping[str, Format]" = {".npy": _npy, ".jsonl": _jsonl, ".parquet": _parquet}
