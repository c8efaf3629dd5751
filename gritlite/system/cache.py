"""The folder of pulled models, and the names under which they are found.

    models/FILE             a model of the catalog, with FILE.sha256 beside it
    hub/ORG--NAME/COMMIT/   files of a Hugging Face repository at one commit
    names/NAME              a text file with the path, within the cache, of the model NAME
    pending/                downloads in progress (see `gritlite.pull.download_folder`)

A name is written last, so it never refers to an incomplete model. The module does not
know where models come from.
"""

import contextlib
import json
import os
import urllib.parse
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from gritlite.errors import FileError
from gritlite.system.files import atomic_write, sha256

VARIABLE = "GRITLITE_CACHE"


def root() -> Path:
    """$GRITLITE_CACHE, or else a folder where the system keeps caches.

    Raises FileError if there is no home folder.
    """
    try:
        if os.environ.get(VARIABLE):
            return Path(os.environ[VARIABLE]).expanduser().absolute()
        # without an author's folder, and on Windows without one called Cache
        return user_cache_path("gritlite", appauthor=False, opinion=False)
    except RuntimeError as error:
        raise FileError(
            f"there is no home folder for the cache: set {VARIABLE} to a folder"
        ) from error


def read_record(*parts: str) -> Any:
    """The JSON value that `keep_record` kept under this path; None if there is none, or no JSON."""
    try:
        return json.loads(root().joinpath(*parts).read_bytes())
    except (OSError, ValueError, FileError):
        return None


def keep_record(value: Any, *parts: str, most: int | None = None) -> None:
    """Keep a JSON value that can be made again; without a writable cache it is not kept.

    Of more than `most` files in the record's folder, the oldest are removed.
    """
    with contextlib.suppress(OSError, FileError):
        path = folder(*parts[:-1]) / parts[-1]
        with atomic_write(path, force=True) as file:
            file.write(json.dumps(value).encode())
        if most is not None:
            _remove_oldest(path.parent, most)


def _remove_oldest(folder: Path, most: int) -> None:
    files = [(each.stat().st_mtime_ns, each) for each in folder.glob("*.json")]
    for _, path in sorted(files)[: max(0, len(files) - most)]:
        path.unlink(missing_ok=True)


def folder(*parts: str) -> Path:
    """A folder of the cache, created if necessary. Raises FileError if it cannot be."""
    path = root().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot create the cache folder {path} ({error.strerror}): "
            f"set {VARIABLE} to a folder that you can write to"
        ) from error
    return path


def add_file(source: Path, target: Path) -> None:
    """Move `source` to `target` in one step, and write its digest beside it, as sha256sum does."""
    with atomic_write(_digest_file(target), force=True) as file:
        file.write(f"{sha256(source)}  {target.name}\n".encode())
    source.replace(target)


def is_intact(path: Path) -> bool:
    """Whether a file that `add_file` moved there still has its digest."""
    try:
        stated = _digest_file(path).read_text(encoding="utf-8").split()[0]
        return sha256(path) == stated
    except (OSError, IndexError, UnicodeDecodeError):
        return False


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def register(name: str, path: Path) -> None:
    """Give a file or folder of the cache a name."""
    with atomic_write(folder("names") / _quoted(name), force=True) as file:
        file.write(path.relative_to(root()).as_posix().encode())


def find(name: str) -> Path | None:
    """The file or folder with this name; None if there is none, or it was deleted."""
    try:
        path = root() / (root() / "names" / _quoted(name)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return path if path.exists() else None


def registered_names() -> list[str]:
    """All names, sorted."""
    try:
        files = [path.name for path in (root() / "names").iterdir()]
    except OSError:
        return []
    # a hidden file is still being written
    return sorted(urllib.parse.unquote(name) for name in files if not name.startswith("."))


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
