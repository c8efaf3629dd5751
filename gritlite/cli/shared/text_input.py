"""Whole small text files, and standard input, as strings."""

import sys
from pathlib import Path

from gritlite.errors import FileError, FormatError


def read_text(path: Path) -> str:
    """The text of a file. Raises FileError, and FormatError for bytes that are not UTF-8."""
    try:
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def read_standard_input() -> str:
    """All of standard input. Raises FormatError for bytes that are not UTF-8."""
    return _decoded(sys.stdin.buffer.read(), "standard input")


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{name} is not valid UTF-8: byte {data[error.start]:#04x} at position "
            f"{error.start + 1}: save it as UTF-8"
        ) from error
