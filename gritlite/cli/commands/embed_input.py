"""The texts in files and standard input, one for each line, read lazily.

A text is a line without its line ending, and otherwise unchanged. In JSON Lines the
text is a field of the line's object. No line is ever skipped, so the number of a text
gives its file and line. The module does not know what the texts are used for.
"""

import json
import os
import stat
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from gritlite.errors import FileError, FormatError, InputError, UsageError
from gritlite.system.textfiles import JSON_LINES

STANDARD_INPUT = "-"
DEFAULT_FIELD = "text"
_LONGEST_LINE = 64 * 2**20  # bytes; a file without line endings must not fill the memory
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Texts:
    """An iterator over the texts of `files`, in order; `-` is standard input.

    With `field`, every file is read as JSON Lines, and the text is that field of each
    object. Without it, only files named *.jsonl or *.ndjson are, and the field is
    "text". `bytes_read` counts the bytes read so far; `bytes_total` is None if a file's
    size is unknown.

    Raises UsageError if standard input is named twice, and FileError for a file that is
    missing or unreadable. Iterating raises FormatError for bytes that are not UTF-8 or
    a line that is not JSON, and InputError for an object without a text; both name the
    file and line.
    """

    def __init__(self, files: Sequence[str], field: str | None = None) -> None:
        if list(files).count(STANDARD_INPUT) > 1:
            raise UsageError("standard input is named twice, but can be read only once")
        self.bytes_read = 0
        self.bytes_total = _total_size(files)
        self._files = files
        self._field = field
        self._starts: list[int] = []  # number of the first text in each file opened so far

    def __iter__(self) -> Iterator[str]:
        count = 0
        for name in self._files:
            self._starts.append(count)
            field = self._field
            if field is None and name.lower().endswith(JSON_LINES):
                field = DEFAULT_FIELD
            for line in self._lines(name):
                yield self._text(line, field, self.place(count))
                count += 1

    @property
    def rereadable(self) -> bool:
        """Whether the texts can be read a second time, after `restart`."""
        return self.bytes_total is not None and STANDARD_INPUT not in self._files

    def restart(self) -> None:
        """Make the next iteration begin at the first text again."""
        self.bytes_read = 0
        self._starts.clear()

    def place(self, index: int) -> str:
        """The file and line of a text; `index` counts from 0."""
        file = bisect_right(self._starts, index) - 1
        return f"{_display_name(self._files[file])}, line {index - self._starts[file] + 1}"

    def _lines(self, name: str) -> Iterator[bytes]:
        with _open(name) as file:
            line = file.readline(_LONGEST_LINE)
            self.bytes_read += len(line)
            line = line.removeprefix(_BYTE_ORDER_MARK)
            while line:
                yield line
                line = file.readline(_LONGEST_LINE)
                self.bytes_read += len(line)

    def _text(self, line: bytes, field: str | None, place: str) -> str:
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            raise FormatError(f"{place}: longer than {_LONGEST_LINE >> 20} MiB: is this text?")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{place}: not valid UTF-8: byte {line[error.start]:#04x} at position "
                f"{error.start + 1}: save the file as UTF-8"
            ) from error
        text = text.removesuffix("\n").removesuffix("\r")
        return text if field is None else _field_of(text, field, place)


def _field_of(line: str, field: str, place: str) -> str:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{place}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{place}: not a JSON object")
    if field not in found:
        names = ", ".join(sorted(found)[:8]) or "none"
        raise InputError(f"{place}: no field {field!r} (it has {names}): name one with --field")
    if not isinstance(found[field], str):
        raise InputError(f"{place}: the field {field!r} is {_kind(found[field])}, not a string")
    return str(found[field])


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "a boolean", dict: "an object", list: "an array"}.get(type(value), "a number")


def _open(name: str) -> BinaryIO:
    if name == STANDARD_INPUT:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        return open(name, "rb")
    except OSError as error:
        raise FileError(f"cannot read {name}: {error.strerror}") from error


def _total_size(files: Sequence[str]) -> int | None:
    sizes = [_size(name) for name in files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _size(name: str) -> int | None:
    """Bytes of a regular file, None for a pipe. Raises FileError for what cannot be read."""
    if name == STANDARD_INPUT:
        status = os.fstat(sys.stdin.fileno())
    else:
        path = Path(name)
        if path.is_dir():
            raise FileError(f"{name} is a folder: name text files")
        if not path.exists():
            raise FileError(f"{name} does not exist")
        if not os.access(path, os.R_OK):
            raise FileError(f"no permission to read {name}")
        status = path.stat()
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _display_name(name: str) -> str:
    return "standard input" if name == STANDARD_INPUT else name
