r"""The texts in files and standard input, read lazily: lines, paragraphs or whole files.

A text is unchanged but for the line endings around it, and those within it become `\n`. In
JSON Lines the text is a field of the line's object. The module does not know what the
texts are used for.
"""

import json
import os
import stat
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from gritlite.errors import FileError, FormatError, InputError, UsageError
from gritlite.system.reading import read_stream
from gritlite.system.textfiles import JSON_LINES

Split = Literal["lines", "paragraphs", "files"]

STANDARD_INPUT = "-"
DEFAULT_FIELD = "text"
_LONGEST_TEXT = 64 * 2**20  # bytes; a file without line endings must not fill the memory
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NO_LINE = 0  # of a text that is a whole file

_Located = tuple[int, str]  # a text, and the number of its first line


class Texts:
    """An iterator over the texts of `files`, in order; `-` is standard input.

    A text is a line, a paragraph (lines without a blank one between them) or a whole file.
    With `field`, every file is read as JSON Lines, and the text is that field of each
    object. Without it, only files named *.jsonl or *.ndjson are, and the field is "text".
    With `skip_empty`, texts of nothing but white space are left out, and `skipped` counts
    them; otherwise none is. `bytes_read` counts the bytes read so far; `bytes_total` is
    None if a file's size is unknown.

    Raises UsageError if standard input is named twice or JSON Lines are to be split into
    anything but lines, and FileError for a file that is missing or unreadable. Iterating
    raises FormatError for bytes that are not UTF-8 or a line that is not JSON, and
    InputError for an object without a text; both name the file and line.
    """

    def __init__(
        self,
        files: Sequence[str],
        field: str | None = None,
        *,
        split: Split = "lines",
        skip_empty: bool = False,
    ) -> None:
        if list(files).count(STANDARD_INPUT) > 1:
            raise UsageError("standard input is named twice, but can be read only once")
        self.bytes_total = _total_size(files)
        self._files = files
        self._fields = [_field(name, field) for name in files]
        self._split = split
        self._skip_empty = skip_empty
        if split != "lines" and any(self._fields):
            json_lines = next(name for name, of in zip(files, self._fields, strict=True) if of)
            raise UsageError(
                f"{_display_name(json_lines)} is JSON Lines, where each line holds a text: it "
                f"cannot be split into {split}"
            )
        self.restart()

    def restart(self) -> None:
        """Make the next iteration begin at the first text again."""
        self.bytes_read = self.skipped = 0
        # where texts do not follow each other line by line: the text's number, file and line
        self._jumps = (array("Q"), array("Q"), array("Q"))

    @property
    def rereadable(self) -> bool:
        """Whether the texts can be read a second time, after `restart`."""
        return self.bytes_total is not None and STANDARD_INPUT not in self._files

    @property
    def from_terminal(self) -> bool:
        """Whether somebody has to type the texts."""
        return STANDARD_INPUT in self._files and sys.stdin.isatty()

    def __iter__(self) -> Iterator[str]:
        count, expected = 0, (-1, 0)
        for file, name in enumerate(self._files):
            for line, text in self._located(name, self._fields[file]):
                if self._skip_empty and not text.strip():
                    self.skipped += 1
                    continue
                if (file, line) != expected:
                    for column, value in zip(self._jumps, (count, file, line), strict=True):
                        column.append(value)
                yield text
                count, expected = count + 1, (file, line + 1)

    def place(self, index: int) -> str:
        """The file and line of a text; `index` counts from 0."""
        counts, files, lines = self._jumps
        jump = bisect_right(counts, index) - 1
        name = _display_name(self._files[files[jump]])
        if lines[jump] == _NO_LINE:
            return name
        return _place(name, lines[jump] + index - counts[jump])

    def _located(self, name: str, field: str | None) -> Iterator[_Located]:
        if field is not None:
            return self._json_lines(name, field)
        if self._split == "files":
            return self._whole(name)
        return self._paragraphs(name) if self._split == "paragraphs" else self._lines(name)

    def _json_lines(self, name: str, field: str) -> Iterator[_Located]:
        for number, line in self._lines(name):
            if self._skip_empty and not line.strip():
                yield number, ""
            else:
                yield number, _field_of(line, field, _place(_display_name(name), number))

    def _whole(self, name: str) -> Iterator[_Located]:
        with _open(name) as file:
            data = read_stream(file, _display_name(name), _LONGEST_TEXT)
        self.bytes_read += len(data)
        lines = data.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
        decoded = [_decode(line, name, number) for number, line in enumerate(lines, 1)]
        yield _NO_LINE, "\n".join(decoded).strip("\n")

    def _paragraphs(self, name: str) -> Iterator[_Located]:
        first, size, lines = 0, 0, list[str]()
        for number, line in self._lines(name):
            if line.strip():
                first = first if lines else number
                size = size + len(line) if lines else len(line)
                if size > _LONGEST_TEXT:
                    raise _too_long(name, first)
                lines.append(line)
            elif lines:
                yield first, "\n".join(lines)
                lines.clear()
        if lines:
            yield first, "\n".join(lines)

    def _lines(self, name: str) -> Iterator[_Located]:
        with _open(name) as file:
            number, line = 1, file.readline(_LONGEST_TEXT)
            self.bytes_read += len(line)
            line = line.removeprefix(_BYTE_ORDER_MARK)
            while line:
                if len(line) == _LONGEST_TEXT and not line.endswith(b"\n"):
                    raise _too_long(name, number)
                yield number, _decode(line, name, number)
                number, line = number + 1, file.readline(_LONGEST_TEXT)
                self.bytes_read += len(line)


def _field(name: str, field: str | None) -> str | None:
    """The field of a JSON Lines file that holds the text; None for a text file."""
    return field or (DEFAULT_FIELD if name.lower().endswith(JSON_LINES) else None)


def _decode(line: bytes, name: str, number: int) -> str:
    """The text of a line, without its ending."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{_place(_display_name(name), number)}: not valid UTF-8: byte "
            f"{line[error.start]:#04x} at position {error.start + 1}: save the file as UTF-8"
        ) from error
    return text.removesuffix("\n").removesuffix("\r")


def _too_long(name: str, number: int) -> FormatError:
    place = _place(_display_name(name), number)
    return FormatError(f"{place}: longer than {_LONGEST_TEXT >> 20} MiB: is this text?")


def _place(name: str, line: int) -> str:
    return f"{name}, line {line}"


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
