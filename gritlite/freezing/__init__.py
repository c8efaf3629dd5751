"""Hooks by which PyInstaller freezes an app that contains gritlite.

PyInstaller finds this folder by the entry point `pyinstaller40`. The files here run inside
PyInstaller, except `rthooks/`, which runs in the frozen app before the app's own code.
The hooks name packages and files; they do not know what these are for.
"""

from pathlib import Path


def hook_folders() -> list[str]:
    """The folders with hooks, for PyInstaller."""
    return [str(Path(__file__).parent)]
