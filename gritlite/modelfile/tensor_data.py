"""Reading tensor data from open files into memory of its own, never mapped.

What is resident is then what is in use. The module does not know formats.
"""

from io import FileIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gritlite.errors import FileError, FormatError


def open_file(path: Path) -> FileIO:
    """A file open for reading; raises FileError if it cannot be."""
    try:
        return FileIO(path)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def read_into(file: FileIO, start: int, buffer: NDArray[Any], what: str) -> None:
    """Fill a contiguous `buffer` from byte `start` on.

    `what` is read, for the message. Raises FileError if the file cannot be read,
    FormatError if it ends too early.
    """
    wanted = buffer.reshape(-1).view("u1").data
    try:
        file.seek(start)
        while wanted:
            got = file.readinto(wanted)
            if not got:
                raise FormatError(
                    f"{file.name} ended while {what!r} was read: it was changed "
                    "meanwhile; download or make it again"
                )
            wanted = wanted[got:]
    except OSError as error:
        raise FileError(f"cannot read {file.name}: {error.strerror}") from error
