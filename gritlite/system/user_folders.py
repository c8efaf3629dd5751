"""The folders in which a user's programs keep files, by each system's convention.

On Linux these are those of freedesktop.org's base directory specification, which ignores
relative paths in its variables. Raises RuntimeError where there is no home folder.
"""

import os
import sys
from pathlib import Path


def cache_home() -> Path:
    """The folder for what can be made again."""
    return _folder("Caches", "XDG_CACHE_HOME", ".cache")


def state_home() -> Path:
    """The folder for what a program remembers between its runs."""
    return _folder("Application Support", "XDG_STATE_HOME", ".local/state")


def _folder(in_library: str, variable: str, in_home: str) -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / in_library
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    stated = Path(os.environ.get(variable, ""))
    return stated if stated.is_absolute() else Path.home() / in_home
