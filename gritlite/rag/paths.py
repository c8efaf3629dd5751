"""Stored paths: relative to the folder of the store, so that both can move together."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


class StorePaths:
    """Converts paths to stored names and back, for a store in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def name(self, path: Path) -> str:
        """The stored name of a path, with / as the separator."""
        try:
            return Path(os.path.relpath(path, self._folder)).as_posix()
        except ValueError:  # on another drive of Windows
            return path.as_posix()

    def path(self, name: str) -> Path:
        """The absolute path of a stored name."""
        return Path(os.path.normpath(self._folder / PurePosixPath(name)))

    def is_inside(self, name: str, folders: Sequence[Path]) -> bool:
        """Whether a stored name is inside one of the folders, at any depth."""
        return any(self.path(name).is_relative_to(os.path.normpath(folder)) for folder in folders)
