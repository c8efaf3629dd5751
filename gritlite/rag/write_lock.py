"""One writer at a time: a lock file beside the store, which ends with its process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gritlite.errors import FileError


@contextlib.contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the lock of the store at `path`. Raises FileError while another writer holds it."""
    from filelock import FileLock, Timeout

    try:
        lock = FileLock(f"{path}.lock", timeout=0).acquire()
    except Timeout as error:
        raise FileError(
            f"another writer is adding to {path}: try again when it has finished"
        ) from error
    with lock:
        yield
