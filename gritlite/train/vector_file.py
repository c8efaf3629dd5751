"""Vectors of texts in one file that grows: made once, and read by mmap in every run.

    12 bytes   the magic "GLVEC" and a zero, the version (uint16), the dimension d (uint32)
    records    16 bytes of the text's digest (BLAKE2b), then its vector, float16 [d]

A run that is killed may leave half of a record at the end, which the next writer cuts off. The
module knows nothing of torch or of what made the vectors.
"""

import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import FileError, FormatError

_HEADER = struct.Struct("<6sHI")  # little-endian, as the records
_MAGIC, _VERSION = b"GLVEC\0", 1
_DIGEST_BYTES = 16


class VectorFile:
    """The vectors in a file, which need not exist yet.

    Raises FileError if it cannot be read, FormatError if it is another kind of file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[bytes, int] = {}
        self._records: NDArray[np.void] | None = None
        self.refresh()

    def __contains__(self, text: str) -> bool:
        return _digest(text) in self._rows

    def append(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add the vectors [n, d] of texts, of the file's own d. Raises FileError if it cannot."""
        dimension = vectors.shape[1]
        added = np.zeros(len(texts), _record(dimension))
        added["text"] = [_digest(text) for text in texts]
        added["vector"] = vectors
        try:
            with self.path.open("ab") as file:
                end = file.seek(0, os.SEEK_END)
                if end < _HEADER.size:
                    file.truncate(0)
                    file.write(_HEADER.pack(_MAGIC, _VERSION, dimension))
                else:
                    file.truncate(end - (end - _HEADER.size) % added.dtype.itemsize)
                file.write(added.tobytes())
        except OSError as error:
            raise FileError(f"cannot write {self.path}: {error.strerror or error}") from error
        self.refresh()

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors [n, d] of texts that are all in the file, rounded to float16."""
        if self._records is None:
            raise KeyError(f"{self.path} holds no vectors")
        rows = [self._rows[_digest(text)] for text in texts]
        read: NDArray[np.float32] = self._records["vector"][rows].astype(np.float32)
        return read

    def refresh(self) -> None:
        """Map what is in the file now, and learn where the texts are that others have added."""
        known = 0 if self._records is None else len(self._records)
        try:
            record = _record(_dimension(self.path))
            count = (self.path.stat().st_size - _HEADER.size) // record.itemsize
            if count > known:
                self._records = np.memmap(self.path, record, "r", _HEADER.size, (count,))
        except FileNotFoundError:
            return
        except OSError as error:
            raise FileError(f"cannot read {self.path}: {error.strerror or error}") from error
        if self._records is not None:
            digests = self._records["text"][known:].tobytes()
            for row in range(len(self._records) - known):
                digest = digests[row * _DIGEST_BYTES : (row + 1) * _DIGEST_BYTES]
                self._rows[digest] = known + row


def _dimension(path: Path) -> int:
    """Read the dimension of a file's vectors. Raises FormatError, and OSError."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) == _HEADER.size:
        magic, version, dimension = _HEADER.unpack(header)
        if magic == _MAGIC and version == _VERSION and dimension > 0:
            return int(dimension)
    raise FormatError(f"{path} is not a file of vectors: remove it, and it is made again")


def _record(dimension: int) -> np.dtype[np.void]:
    return np.dtype([("text", f"V{_DIGEST_BYTES}"), ("vector", "<f2", (dimension,))])


def _digest(text: str) -> bytes:
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES
    ).digest()
