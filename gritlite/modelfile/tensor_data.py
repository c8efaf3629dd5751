"""Read tensor data from open files into buffers, without memory-mapping.

Resident memory is then what is in use. The module does not know file formats.
"""

from io import FileIO
from typing import Any

from numpy.typing import NDArray

from gritlite.errors import FileError, FormatError


def read_into(file: FileIO, start: int, buffer: NDArray[Any], what: str) -> None:
    """Fill a contiguous `buffer` from the file's byte `start` onwards.

    `what` names the data in messages. Raises FileError if the file cannot be read,
    FormatError if it ends too early.
    """
    remaining = buffer.reshape(-1).view("u1").data
    try:
        file.seek(start)
        while remaining:
            count = file.readinto(remaining)
            if not count:
                raise FormatError(
                    f"{file.name} ended while {what!r} was read: it has changed since it was "
                    "opened; try again when nothing writes it"
                )
            remaining = remaining[count:]
    except OSError as error:
        raise FileError(f"cannot read {file.name}: {error.strerror}") from error
