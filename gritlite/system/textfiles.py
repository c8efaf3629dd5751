"""Reading text and JSON files, with errors that name the file and line."""

import codecs
import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from gritlite.errors import FormatError
from gritlite.system.reading import MAX_BYTES, open_text, read_bytes, too_large

BYTE_ORDER_MARKS = {  # UTF-32's mark begins with UTF-16's
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
JSON_LINES = (".jsonl", ".ndjson")  # suffixes of files with one JSON value in each line


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file, or of one whose byte order mark says UTF-16 or UTF-32.

    The mark is left out, line endings are kept. The file may be a pipe. Raises FileError for
    a folder, a device or more than `limit` bytes, and FormatError for other bytes.
    """
    data = read_bytes(path, limit, pipes=True)
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark) and encoding != "utf-8":
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise FormatError(f"{path}: not valid {encoding}: save it as UTF-8") from error
    return _decode(data.removeprefix(codecs.BOM_UTF8), path)


def _decode(data: bytes, path: Path, first_line: int = 1) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + first_line
        raise FormatError(
            f"{path}, line {line}: not valid UTF-8: byte {data[error.start]:#04x}: save it as UTF-8"
        ) from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""The place ("FILE, line N") and text of every line that is not blank, read lazily.

    Lines end with `\n` or `\r\n` only. A file may have any size, a line or a pipe what
    `read_text` takes. Raises what `read_text` raises.
    """
    with BufferedReader(open_text(path)) as file:
        endless = not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        number = size = 0
        while data := file.readline(MAX_BYTES + 1):
            number += 1
            size = size + len(data) if endless else len(data)
            if size > MAX_BYTES:
                raise too_large(str(path), MAX_BYTES)
            line = _decode(
                data.removeprefix(codecs.BOM_UTF8) if number == 1 else data, path, number
            )
            if line.strip():
                yield f"{path}, line {number}", line.removesuffix("\n").removesuffix("\r")


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
