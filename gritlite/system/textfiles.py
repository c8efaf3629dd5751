"""Text and JSON files of test and training sets, with errors that name the place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gritlite.errors import FileError, FormatError

JSON_LINES = (".jsonl", ".ndjson")  # the names of files with a JSON value a line


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, line ends as they are, without a byte order mark.

    Raises FileError, and FormatError for bytes that are not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{path}, line {line}: not valid UTF-8: byte {data[error.start]:#04x}: save it as UTF-8"
        ) from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""The place ("FILE, line N") and text of every line that is not blank.

    Lines end at `\n` or `\r\n` and nowhere else. Raises as `read_text`.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", line.removesuffix("\r")


def parse_json(text: str, place: str) -> Any:
    """The value of a JSON text. Raises FormatError with the place, and the line if it has many."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if error.doc.count("\n") else ""
        raise FormatError(f"{place}{line}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise FormatError(f"{place}: not JSON: nested too deeply") from error
