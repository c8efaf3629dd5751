"""A lock between processes, which ends with the process that holds it."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gritlite.errors import FileError

_PAUSE = 0.1  # seconds between attempts
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def exclusive(path: Path, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`, which stays; `waiting` is called while another holds it.

    Threads exclude each other as processes do. Raises FileError if it cannot be opened, and
    what `waiting` raises.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise FileError(f"cannot open the lock file {path}: {error.strerror}") from error
    try:
        while not _try(descriptor, path):
            waiting()
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)  # which releases the lock


def _try(descriptor: int, path: Path) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise FileError(f"cannot lock {path}: {error.strerror}") from error
    return True
