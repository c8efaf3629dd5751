"""Lists the documents among files and in folders."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FileError, FormatError
from gritlite.rag.formats import FORMATS


@dataclass(frozen=True)
class Listing:
    """Documents, as absolute paths in order.

    `folders` are the folders that were searched, and `skipped` counts their files of other
    formats by suffix.
    """

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    skipped: dict[str, int]


def list_documents(paths: Sequence[Path], *, exclude: Iterable[Path] = ()) -> Listing:
    """The documents among files and in folders at any depth, except hidden ones.

    `exclude` names files and folders to ignore. Raises FileError for a path that does not
    exist and a folder that cannot be read, and FormatError for a file in `paths` whose
    format is not supported.
    """
    files: set[Path] = set()
    folders: list[Path] = []
    skipped: Counter[str] = Counter()
    ignored = {path.absolute() for path in exclude}
    for path in map(Path.absolute, paths):
        if path.is_dir():
            folders.append(path)
            for file in _inside(path, ignored):
                if file.suffix.lower() in FORMATS:
                    files.add(file)
                else:
                    skipped[file.suffix.lower() or "no suffix"] += 1
        elif not path.exists():
            raise FileError(f"{path} does not exist")
        elif path.suffix.lower() not in FORMATS:
            raise FormatError(f"{path} has no supported format: {', '.join(FORMATS)}")
        else:
            files.add(path)
    return Listing(tuple(sorted(files)), tuple(folders), dict(sorted(skipped.items())))


def is_empty(folder: Path) -> bool:
    """Whether a folder is known to have nothing in it."""
    try:
        return not any(folder.iterdir())
    except OSError:
        return False


def _inside(folder: Path, ignored: Collection[Path]) -> Iterable[Path]:
    """The visible files of a folder, at any depth; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise FileError(f"cannot read the folder {error.filename}: {error.strerror}") from error

    for parent, names, files in os.walk(folder, onerror=refuse):
        names[:] = [name for name in names if _is_visible(Path(parent, name), ignored)]
        yield from (path for name in files if _is_visible(path := Path(parent, name), ignored))


def _is_visible(path: Path, ignored: Collection[Path]) -> bool:
    return not path.name.startswith(".") and path not in ignored
