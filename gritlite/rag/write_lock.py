"""One writer at a time: a lock file beside the store, which ends with its process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gritlite.errors import FileError


@contextlib.contextmanager
def write_lock(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of the store at `path`.

    Raises FileError while another writer holds it, after waiting for `patience` seconds.
    """
    from filelock import FileLock, Timeout

    try:
        lock = FileLock(f"{path}.lock", timeout=patience).acquire()
    except Timeout as error:
        raise FileError(
            f"another writer is adding to {path}: try again when it has finished"
        ) from error
    except OSError as error:
        raise FileError(f"cannot lock {path} for writing: {error.strerror}") from error
    with lock:
        yield
