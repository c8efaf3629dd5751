"""A file read from start to end, never past its size: integers, names and strings in GGUF's form.

Format: ggml's docs/gguf.md, little endian. Every length is checked against the
file's size before anything is allocated. The module does not know what it reads.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NoReturn

from gritlite.errors import FileError, FormatError
from gritlite.system.reading import open_regular

ADVICE = "download or convert the model again"

# llama.cpp allows 2**30; no tokenizer or template comes near this
MAX_STRING_BYTES = 1 << 26
MAX_STRINGS_BYTES = 1 << 28  # of a whole list of strings


@contextmanager
def open_reader(path: Path) -> Iterator["ByteReader"]:
    """Open a regular file for reading. Raises FileError if that fails."""
    if path.is_dir():
        raise FileError(
            f"{path} is a folder, not a GGUF file: if it is a checkpoint, make one of it with "
            " gritlite convert"
        )
    with BufferedReader(open_regular(path), 1 << 18) as file:
        try:
            yield ByteReader(path, file, os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise FileError(f"cannot read {path}: {error}") from None


class ByteReader:
    """An open file of `size` bytes and the position in it.

    In every method `what` names the thing being read, for the FormatError that is
    raised if the file ends too early or the bytes contradict the format.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path = path
        self.size = size
        self.position = 0
        self._file = file

    def fail(self, what: str, position: int | None = None) -> NoReturn:
        """Raise FormatError about the bytes at `position`, by default the current one."""
        at = self.position if position is None else position
        raise FormatError(f"{self.path}: {what} (at byte {at}): {ADVICE}")

    def fail_truncated(self, needed: int, what: str) -> NoReturn:
        """Raise FormatError because the file would have to have `needed` bytes."""
        raise FormatError(
            f"{self.path} is truncated or damaged: {what} needs {needed:,} bytes, "
            f"the file has {self.size:,}: {ADVICE}"
        )

    def require(self, count: int, what: str) -> None:
        """Raise FormatError unless `count` more bytes follow."""
        if count > self.size - self.position:
            self.fail_truncated(self.position + count, what)

    def bytes(self, count: int, what: str) -> bytes:
        """The next `count` bytes."""
        self.require(count, what)
        data = self._file.read(count)
        if len(data) != count:
            self.fail_truncated(self.position + count, what)
        self.position += count
        return data

    def u32(self, what: str) -> int:
        """The next unsigned 32-bit integer."""
        return int.from_bytes(self.bytes(4, what), "little")

    def u64(self, what: str) -> int:
        """The next unsigned 64-bit integer."""
        return int.from_bytes(self.bytes(8, what), "little")

    def string(self, what: str, limit: int = MAX_STRING_BYTES) -> str:
        """The next string, of at most `limit` bytes of UTF-8."""
        start = self.position
        length = self.u64(what)
        if length > limit:
            self.fail(f"{what} claims {length:,} bytes, more than {limit:,}", start)
        try:
            return self.bytes(length, what).decode("utf-8")
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8", start)

    def name(self, what: str, limit: int) -> str:
        """The next string, which must not be empty or contain a zero byte."""
        start = self.position
        name = self.string(what, limit)
        if not name or "\0" in name:
            self.fail(f"{what} is empty or contains a zero byte", start)
        return name

    def strings(self, count: int, what: str) -> list[str]:
        """The next `count` strings; bytes that are not UTF-8 become surrogate escapes.

        Reads 100,000 strings in about 0.05 s: one look-up per name, checks inline.
        """
        read, from_bytes, size = self._file.read, int.from_bytes, self.size
        position = self.position
        limit = position + MAX_STRINGS_BYTES
        result = []
        for _ in range(count):
            length = from_bytes(read(8), "little")
            position += 8 + length
            if length > MAX_STRING_BYTES or position > size:
                self.fail_truncated(position, what)
            if position > limit:
                self.fail(f"{what} has more than {MAX_STRINGS_BYTES >> 20} MiB", limit)
            result.append(read(length).decode("utf-8", "surrogateescape"))
        if self._file.tell() != position:  # the file shrank meanwhile
            self.fail_truncated(position, what)
        self.position = position
        return result
