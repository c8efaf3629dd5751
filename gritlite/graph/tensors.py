"""Reads a GGUF file's tensors as float32 arrays, or as they are stored.

The module does not know layers.
"""

import contextlib
from collections.abc import Iterator
from io import FileIO

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.errors import ArchitectureError
from gritlite.modelfile.header import GGUFFile, TensorInfo
from gritlite.modelfile.tensor_data import read_into
from gritlite.quant.rows import dequantize_rows
from gritlite.quant.types import row_bytes
from gritlite.system.reading import open_regular

Floats = NDArray[np.float32]


@contextlib.contextmanager
def open_tensors(file: GGUFFile) -> Iterator["Tensors"]:
    """Open the tensors of a file. Raises FileError if it cannot be read."""
    with open_regular(file.path) as opened:
        yield Tensors(file, opened)


class Tensors:
    """The tensors of one file, by name. Matrices are read one at a time.

    `keeps_numbers` says whether `floats` are the numbers that the file stores. The first
    `outliers` columns of ffn_down meet far larger inputs than the others; 0 if none are known.
    """

    keeps_numbers = True
    outliers = 0

    def __init__(self, file: GGUFFile, opened: FileIO) -> None:
        self.file, self.opened = file, opened
        self._tensors = {info.name: info for info in file.tensors}

    def __contains__(self, name: str) -> bool:
        """Return whether the file has the tensor."""
        return name in self._tensors

    def type(self, name: str) -> GGMLQuantizationType:
        """Return a tensor's type. Raises ArchitectureError if there is no such tensor."""
        return GGMLQuantizationType(self._info(name).type)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, rows first. Raises ArchitectureError."""
        return self._info(name).shape

    def stored(self, name: str, expert: int | None = None) -> NDArray[np.uint8]:
        """Return the stored rows of a tensor, uint8 [rows, bytes per row].

        With `expert`, those of one matrix of a stack, and nothing else is read.
        """
        info = self._info(name)
        size = row_bytes(self.type(name), info.shape[-1])
        rows, start = info.size // size, info.offset
        if expert is not None:
            rows //= info.shape[0]
            start += expert * rows * size
        buffer = np.empty((rows, size), np.uint8)
        read_into(self.opened, start, buffer, name)
        return buffer

    def floats(self, name: str, expert: int | None = None) -> Floats:
        """Return a tensor as float32, in its shape; with `expert`, one matrix of a stack."""
        shape = self.shape(name) if expert is None else self.shape(name)[1:]
        return dequantize_rows(self.stored(name, expert), self.type(name)).reshape(shape)

    def _info(self, name: str) -> TensorInfo:
        info = self._tensors.get(name)
        if info is None:
            raise ArchitectureError(f"{self.file.path}: the tensor {name!r} is missing")
        return info
