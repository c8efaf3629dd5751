"""Read the JSON files of a checkpoint folder, which anybody may have written."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gritlite.errors import FormatError
from gritlite.system.reading import read_bytes

MAX_DEPTH = 100  # of lists and objects in each other
MAX_JSON_BYTES = 128 << 20  # the largest tokenizer.json that is known has 35 MB
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = 100  # characters of a value in a message


def read_json_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file. Raises as `read_json`, and for any other JSON."""
    parsed = read_json(path)
    if not isinstance(parsed, dict):
        raise FormatError(f"{path} is not a JSON object")
    return parsed


def read_json(path: Path) -> Any:
    """Read the JSON in a file.

    Raises FileError if it cannot be read or is larger than 128 MiB, and FormatError if
    it is not JSON, or has text that is no Unicode (a lone surrogate).
    """
    try:
        text = read_bytes(path, MAX_JSON_BYTES).decode("utf-8-sig")
        parsed = json.loads(text)
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not JSON: it is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        where = f"{error.msg} (line {error.lineno}, column {error.colno})"
        if error.pos >= len(text.rstrip()):
            where = "it ends too early: download it again"
        raise FormatError(f"{path} is not JSON: {where}") from error
    except RecursionError as error:
        raise _too_deep(path) from error
    except ValueError as error:  # a number of more digits than Python reads
        raise FormatError(f"{path} is not JSON that can be read: {error}") from error
    _check_depth(path, parsed)
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(path, parsed)
    return parsed


def read_optional_json_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file, empty if there is no file; raises as `read_json_object`."""
    return read_json_object(path) if path.exists() else {}


def shown(value: Any) -> str:
    """Return a value of a file as a message shows it: on one line, and not longer than one."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def list_in(path: Path, content: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list in a field, empty if it is absent or null; else raise FormatError."""
    value = content.get(key)
    if value is not None and not isinstance(value, list):
        raise FormatError(f"{path}: {key} is {shown(value)}, not a list")
    return value or []


def object_in(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object in a field, empty if it is absent or null; else raise FormatError."""
    value = content.get(key)
    if value is not None and not isinstance(value, dict):
        raise FormatError(f"{path}: {key} is {shown(value)}, not an object")
    return value or {}


def flag_in(path: Path, content: Mapping[str, Any], key: str) -> bool:
    """Return the flag in a field, False if it is absent or null; else raise FormatError."""
    value = content.get(key)
    if value is not None and type(value) is not bool:
        raise FormatError(f"{path}: {key} is {shown(value)}, not true or false")
    return bool(value)


def _check_depth(path: Path, parsed: Any) -> None:
    """Raise FormatError for lists and objects so deep that a reader would run out of stack."""
    level = [parsed] if isinstance(parsed, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return
    raise _too_deep(path)


def _too_deep(path: Path) -> FormatError:
    return FormatError(f"{path} is not JSON that can be read: nested too deeply")


def _refuse_surrogates(path: Path, parsed: Any) -> None:
    """Raise FormatError for text that no encoding can write, as Rust's JSON reader does."""
    waiting = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and _SURROGATE.search(value):
            raise FormatError(f"{path} has text with a lone surrogate: {shown(value)}")
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        if isinstance(value, list):
            waiting += value
