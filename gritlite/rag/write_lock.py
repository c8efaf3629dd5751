"""One process at a time adds to a store: a lock in a file, which ends with its process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gritlite.errors import FileError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Be the one that adds to the store at `path`. Raises FileError while somebody else is."""
    from filelock import FileLock, Timeout

    try:
        lock = FileLock(f"{path}.lock", timeout=0).acquire()
    except Timeout as error:
        raise FileError(
            f"somebody else is adding to {path}: try again when that has ended"
        ) from error
    with lock:
        yield
