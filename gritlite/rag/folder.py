"""Which files of the folders that a user names are documents."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FileError, FormatError
from gritlite.rag.formats import FORMATS


@dataclass(frozen=True)
class Listing:
    """The documents that were found, absolute and sorted.

    `folders` are those that were looked through, and `skipped` counts the files in
    them that are no documents, by suffix.
    """

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    skipped: dict[str, int]


def listing(paths: Sequence[Path], *, besides: Iterable[Path] = ()) -> Listing:
    """The documents among files and in folders, at any depth, without hidden ones.

    `besides` are files and folders that are not looked at. Raises FileError for a path that is
    not there or a folder that cannot be read, and FormatError for a file, named as
    such, of a kind that is not read.
    """
    files: set[Path] = set()
    folders: list[Path] = []
    skipped: Counter[str] = Counter()
    ignored = {path.absolute() for path in besides}
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
            raise FormatError(f"{path} is of no kind that is read: {', '.join(FORMATS)}")
        else:
            files.add(path)
    return Listing(tuple(sorted(files)), tuple(folders), dict(sorted(skipped.items())))


def _inside(folder: Path, ignored: Collection[Path]) -> Iterable[Path]:
    """The files of a folder that are not hidden, at any depth; not through links to folders."""

    def refuse(error: OSError) -> None:
        raise FileError(f"cannot read the folder {error.filename}: {error.strerror}") from error

    for parent, names, files in os.walk(folder, onerror=refuse):
        names[:] = [name for name in names if _is_shown(Path(parent, name), ignored)]
        yield from (path for name in files if _is_shown(path := Path(parent, name), ignored))


def _is_shown(path: Path, ignored: Collection[Path]) -> bool:
    return not path.name.startswith(".") and path not in ignored
