"""Reading text and JSON files, with errors that name the file and line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gritlite.errors import FormatError
from gritlite.system.reading import MAX_BYTES, read_bytes

JSON_LINES = (".jsonl", ".ndjson")  # suffixes of files with one JSON value in each line


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file without a byte order mark; line endings are kept.

    The file may be a pipe. Raises FileError for a folder, a device or more than `limit`
    bytes, and FormatError for bytes that are not UTF-8.
    """
    data = read_bytes(path, limit, pipes=True)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{path}, line {line}: not valid UTF-8: byte {data[error.start]:#04x}: save it as UTF-8"
        ) from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""The place ("FILE, line N") and text of every line that is not blank.

    Lines end with `\n` or `\r\n` only. Raises what `read_text` raises.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", line.removesuffix("\r")


def parse_json(text: str, place: str) -> Any:
    """The value of a JSON text. Raises FormatError with `place`, and the line of a long text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if error.doc.count("\n") else ""
        raise FormatError(f"{place}{line}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise FormatError(f"{place}: not JSON: nested too deeply") from error
    except ValueError as error:  # Python's limit on the digits of an integer
        raise FormatError(f"{place}: not JSON that can be read: {error}") from error
