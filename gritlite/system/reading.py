"""Reading whole files: from regular files, or from pipes where a person gives a text, and bounded.

`/dev/zero` never ends and a forgotten pipe never begins, so a name that stands for either
must not be read like a file. The module does not know what is read.
"""

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from gritlite.errors import FileError

MAX_BYTES = 256 << 20  # of a file that is read whole, unless its reader sets less
MAX_PROMPT_BYTES = 16 << 20  # of a text that a model reads at once: prompts, grammars, templates
_PIECE = 1 << 20  # a file's size is not believed: memory grows with what is read


def open_regular(path: Path) -> FileIO:
    """Open a regular file for unbuffered reading.

    Raises FileError for a folder, a pipe or a device, and if it cannot be opened.
    """
    return _open(path, pipes=False)


def open_text(path: Path) -> FileIO:
    """Open a regular file or a pipe, such as a shell's `<(command)`, for unbuffered reading.

    Raises FileError for a folder or a device, and if it cannot be opened.
    """
    return _open(path, pipes=True)


def read_bytes(path: Path, limit: int = MAX_BYTES, *, pipes: bool = False) -> bytes:
    """Return the bytes of a file, at most `limit`.

    With `pipes` the file may be a pipe, such as a shell's `<(command)`, which is read to
    its end. Raises FileError for a folder, a device, or more bytes than the limit, and if
    it cannot be read.
    """
    with _open(path, pipes=pipes) as file:
        return read_stream(file, str(path), limit)


def read_stream(file: FileIO | BinaryIO, name: str, limit: int = MAX_BYTES) -> bytes:
    """Return what remains of an open file.

    Raises FileError, with the `name`, if that is more than `limit` bytes or cannot be read.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while part := file.read(_PIECE):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise too_large(name, limit)
    except OSError as error:
        raise FileError(f"cannot read {name}: {error.strerror or error}") from error
    return b"".join(parts)


def too_large(name: str, limit: int) -> FileError:
    """The error about a file of more than `limit` bytes."""
    return FileError(
        f"{name} has more than {limit >> 20:,} MiB, the most that is read: is it the right file?"
    )


def _open(path: Path, *, pipes: bool) -> FileIO:
    if "\0" in str(path):
        raise FileError(f"{str(path)!r} contains a zero byte, which no file name can")
    try:
        file = FileIO(path, opener=None if pipes else _without_waiting)
    except FileNotFoundError as error:
        raise FileError(f"cannot read {path}: it does not exist") from error
    except IsADirectoryError as error:
        raise FileError(f"cannot read {path}: it is a folder: name a file") from error
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise FileError(f"{path} is a socket or has no device: name a file") from error
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode)):
        return file
    file.close()
    raise FileError(f"{path} is a {'pipe' if stat.S_ISFIFO(mode) else 'device'}: name a file")


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
