"""Importance matrices: how much each column of a tensor matters, and their files.

For a matrix W and its inputs x, the importance of column j is the mean of x_j^2
over the tokens seen, by which an error in that column is weighted. Files are in
llama.cpp's GGUF format (tools/imatrix/imatrix.cpp; two tensors for each matrix,
`<name>.in_sum2` and `<name>.counts`); its older binary format can be read too. The
module does not know how activations are observed.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import FormatError
from gritlite.modelfile.header import DEFAULT_ALIGNMENT, MAGIC, GGUFFile, read_header
from gritlite.modelfile.header_writer import TensorFormat, encode_header, encode_metadata, padding
from gritlite.modelfile.tensor_data import read_into
from gritlite.modelfile.types import GGMLType
from gritlite.system.files import atomic_write
from gritlite.system.reading import open_regular, read_bytes

_SUMS, _COUNTS = ".in_sum2", ".counts"
_DATASETS = "imatrix.datasets"
_CHUNK_COUNT = "imatrix.chunk_count"
_CHUNK_SIZE = "imatrix.chunk_size"
# an activation of a float16 model is at most 65,504; ggml multiplies squares of importances
_MAX_IMPORTANCE = 1e12
_MAX_NAME = 64 + len(_COUNTS)  # characters; ggml's GGML_MAX_NAME, and a suffix
_ADVICE = "make it again with  gritlite calibrate"


@dataclass(frozen=True)
class Activations:
    """Sums of the squared inputs of a tensor's matrices, float32 [n, k], over `counts` [n] tokens.

    n is 1, or the number of experts. An expert that was never selected has a count of 0.
    """

    sums: NDArray[np.float32]
    counts: NDArray[np.float32]

    @property
    def importance(self) -> NDArray[np.float32]:
        """The mean squares, float32 [n, k]; all ones for an expert that was never selected."""
        means = np.divide(self.sums, np.maximum(self.counts, 1)[:, None], dtype=np.float32)
        means[self.counts == 0] = 1
        return means


@dataclass(frozen=True)
class Imatrix:
    """The activations of a model's tensors by name, and the texts they come from.

    `datasets` names the texts, of which `chunks` chunks of `chunk_size` tokens were evaluated.
    """

    tensors: Mapping[str, Activations]
    datasets: tuple[str, ...] = ()
    chunks: int = 0
    chunk_size: int = 0


@contextmanager
def errors_name_file(path: Path | None) -> Iterator[None]:
    """Prefix the message of a FormatError raised in the block with the file's path."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def check_layers(imatrix: Imatrix, tensors: Iterable[str]) -> None:
    """Raise FormatError if the matrix has other layers than the model with these tensors."""
    theirs, ours = _layers(imatrix.tensors), _layers(tensors)
    if theirs != ours:
        raise FormatError(
            f"the importance matrix belongs to another model: it has {len(theirs)} layers, the "
            f"model {len(ours)}"
        )


def _layers(tensors: Iterable[str]) -> set[str]:
    return {name.split(".")[1] for name in tensors if name.startswith("blk.")}


def importance_by_matrix(
    importance: NDArray[np.float32], name: str, matrices: int, columns: int
) -> NDArray[np.float32]:
    """Reshape a tensor's importance to float32 [matrices, columns].

    Raises FormatError, naming the tensor, if the sizes differ.
    """
    if importance.size != matrices * columns:
        raise FormatError(
            f"the importance matrix belongs to another model: it has {importance.size:,} columns "
            f"for {name}, the model {matrices * columns:,}"
        )
    return importance.reshape(matrices, columns)


def write_imatrix(imatrix: Imatrix, path: Path, *, force: bool = False) -> None:
    """Write a file that llama.cpp's llama-quantize and `read_imatrix` can read.

    Raises FileError if it cannot be written, OutputExistsError if it exists and
    `force` is False.
    """
    keys = encode_metadata(
        {
            "general.type": "imatrix",
            _DATASETS: imatrix.datasets,
            _CHUNK_COUNT: imatrix.chunks,
            _CHUNK_SIZE: imatrix.chunk_size,
        }
    )
    stored: list[tuple[TensorFormat, NDArray[np.float32]]] = []
    for name, activations in sorted(imatrix.tensors.items()):
        counts = activations.counts[:, None]
        for suffix, values in ((_SUMS, activations.sums), (_COUNTS, counts)):
            stored.append((TensorFormat(name + suffix, values.shape, GGMLType.F32), values))
    with atomic_write(path, force=force) as file:
        formats = [format for format, _ in stored]
        file.write(encode_header(keys, formats, DEFAULT_ALIGNMENT))
        for _, values in stored:
            file.write(values.astype("<f4").tobytes())
            file.write(bytes(padding(file.tell(), DEFAULT_ALIGNMENT)))


def read_imatrix(path: Path) -> Imatrix:
    """Read an importance matrix in either of llama.cpp's formats.

    Raises FileError if it cannot be read and FormatError if it is damaged, is another
    kind of file, or holds a sum of squares that is negative or not finite, or such that
    ggml would quantize the tensor to zeros, to NaN, or end the process.
    """
    with open_regular(path) as file:
        magic = file.read(len(MAGIC))
        imatrix = _from_gguf(read_header(path), file) if magic == MAGIC else _from_legacy(path)
    for name, activations in imatrix.tensors.items():
        for numbers in (activations.sums, activations.counts):
            if not (np.isfinite(numbers) & (numbers >= 0)).all():
                raise FormatError(
                    f"{path}: {name} has a sum of squares that is negative or not finite: {_ADVICE}"
                )
        if not activations.sums.any() or activations.importance.max() > _MAX_IMPORTANCE:
            raise FormatError(
                f"{path}: {name} has mean squares of activations that are all 0, or above "
                f"{_MAX_IMPORTANCE:g}: {_ADVICE}"
            )
    return imatrix


def _from_gguf(header: GGUFFile, file: FileIO) -> Imatrix:
    kind = header.metadata.get("general.type")
    stored = {info.name: info for info in header.tensors}
    _check_names(header.path, stored)
    names = [name.removesuffix(_SUMS) for name in stored if name.endswith(_SUMS)]
    if kind != "imatrix" or not names:
        raise FormatError(f"{header.path} is not an importance matrix: {_ADVICE}")
    datasets = header.metadata.get(_DATASETS, [])
    chunks, chunk_size = (header.metadata.get(key, 0) for key in (_CHUNK_COUNT, _CHUNK_SIZE))
    if not (isinstance(datasets, list) and isinstance(chunks, int) and isinstance(chunk_size, int)):
        raise FormatError(f"{header.path} has imatrix metadata of the wrong type: {_ADVICE}")

    def values(name: str) -> NDArray[np.float32]:
        info = stored.get(name)
        if info is None or info.type is not GGMLType.F32 or not info.elements:
            raise FormatError(f"{header.path}: {name} is missing, empty or not F32: {_ADVICE}")
        buffer = np.empty(info.elements, "<f4")
        read_into(file, info.offset, buffer, name)
        return buffer

    tensors = {}
    for name in names:
        sums, counts = values(name + _SUMS), values(name + _COUNTS)
        if len(sums) % len(counts):
            raise FormatError(f"{header.path}: {name} has sums and counts that differ: {_ADVICE}")
        tensors[name] = Activations(sums.reshape(len(counts), -1), counts)
    return Imatrix(tensors, tuple(datasets), chunks, chunk_size)


def _check_names(path: Path, names: Iterable[str]) -> None:
    """Raise FormatError for a name that no message can show."""
    for name in names:
        if not name.isprintable() or len(name) > _MAX_NAME:
            raise FormatError(f"{path} has a tensor {name[:_MAX_NAME]!r}: {_ADVICE}")


def _from_legacy(path: Path) -> Imatrix:
    """Read llama.cpp's format until 2025.

    For each matrix: name, calls, and means times calls. At the end: chunks and dataset.
    """
    data = read_bytes(path)
    position = 0

    def number() -> int:
        nonlocal position
        (value,) = struct.unpack_from("<i", data, position)
        position += 4
        if not 0 <= value <= len(data):
            raise ValueError
        return int(value)

    def text() -> str:
        nonlocal position
        length = number()
        position += length
        return data[position - length : position].decode("utf-8")

    tensors = {}
    try:
        for _ in range(number()):
            name, calls = text(), number()
            sums = np.frombuffer(data, "<f4", number(), position)
            position += sums.nbytes
            tensors[name] = Activations(sums[None], np.array([max(calls, 1)], np.float32))
        chunks, datasets = (number(), (text(),)) if position < len(data) else (0, ())
    except (ValueError, struct.error) as error:
        raise FormatError(f"{path} is not an importance matrix: {_ADVICE}") from error
    _check_names(path, tensors)
    if not tensors or position != len(data):
        raise FormatError(f"{path} is not an importance matrix: {_ADVICE}")
    return Imatrix(tensors, datasets, chunks)
