"""Read the JSON files of a checkpoint folder."""

import json
from pathlib import Path
from typing import Any

from gritlite.errors import FileError, FormatError


def read_json_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises FileError if it cannot be read and FormatError if it is not a JSON object.
    """
    try:
        parsed = json.loads(path.read_bytes())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: download it again") from error
    if not isinstance(parsed, dict):
        raise FormatError(f"{path} is not a JSON object: download it again")
    return parsed


def read_optional_json_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file, empty if there is no file; raises as `read_json_object`."""
    return read_json_object(path) if path.exists() else {}
