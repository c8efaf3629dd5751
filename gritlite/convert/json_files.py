"""Read the JSON files of a checkpoint folder."""

import json
from pathlib import Path
from typing import Any

from gritlite.errors import FormatError
from gritlite.system.reading import read_bytes


def read_json_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises FileError if it cannot be read, is no regular file or too large, and FormatError if
    it is not a JSON object.
    """
    data = read_bytes(path)
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: download it again") from error
    if not isinstance(parsed, dict):
        raise FormatError(f"{path} is not a JSON object: download it again")
    return parsed


def read_optional_json_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file, empty if there is no file; raises as `read_json_object`."""
    return read_json_object(path) if path.exists() else {}
