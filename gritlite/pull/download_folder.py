"""Private folders for downloads in progress, and their removal.

Files of a download would outlive a killed process. So the folder is removed

    when its block ends               also by an exception, Ctrl-C or SIGTERM
    as soon as its process has died   by a shell that waits for that; POSIX only
    when the next one is opened       if the shell was killed too: a lock in the
                                      folder is free once its process has died
    after a week                      if there are no locks, as on Windows

The module does not know what is downloaded.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gritlite.errors import FileError
from gritlite.system import cache
from gritlite.system.cleanup import remove_on_exit
from gritlite.system.files import DISK_FULL

if sys.platform != "win32":
    import fcntl

_LOCK = "lock"
_WEEK = 7 * 24 * 3600


@contextlib.contextmanager
def download_folder() -> Iterator[Path]:
    """Create a private folder on the cache's disk. Raises FileError if that disk is full."""
    pending = cache.folder("pending")
    _sweep(pending)
    try:
        with (
            tempfile.TemporaryDirectory(dir=pending, ignore_cleanup_errors=True) as name,
            _locked(Path(name)),
            remove_on_exit(Path(name)),
        ):
            yield Path(name)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise FileError(
            f"the disk of {pending} is full: free some space, or set {cache.VARIABLE} to a "
            "folder with more, and run the command again"
        ) from error


def bytes_in(folder: Path) -> int:
    """Count the bytes of the files in a folder, while others write and remove them."""
    found = 0
    # walk passes over a folder that is removed meanwhile, where rglob raises
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += Path(parent, name).stat().st_size
    return found


@contextlib.contextmanager
def _locked(own: Path) -> Iterator[None]:
    """Hold the folder's lock, if the file system supports locks."""
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            file = stack.enter_context((own / "unlocked").open("wb"))
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # renamed only once it is locked, so that nobody else can lock it first
                (own / "unlocked").rename(own / _LOCK)
        yield


def _sweep(pending: Path) -> None:
    """Remove the folders whose owner is gone."""
    for path in pending.iterdir():
        if _is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    """Return whether a folder's lock is free; without a lock, whether it is a week old."""
    with contextlib.suppress(OSError):  # removed by someone else meanwhile
        try:
            return _is_free(path / _LOCK)
        except OSError:
            return time.time() - path.stat().st_mtime > _WEEK
    return False


def _is_free(lock: Path) -> bool:
    with lock.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
