"""Connections to the file of a store: for writing, or read-only where nothing can be written.

A store uses write-ahead logging: even a reader creates files beside it. Where the folder
cannot be written (a read-only mount, no permission), SQLite's `immutable` mode reads the file
alone, without locks. It does not notice changes, so `stamp` tells whether there were any.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Opened:
    """A connection, whether it can only read, and the `stamp` of a file read without locks."""

    connection: sqlite3.Connection
    read_only: bool
    stamp: Stamp | None


def connect(path: Path) -> Opened:
    """Open the file, or create it if its folder can be written. Raises sqlite3.Error."""
    if _can_write(path):
        return Opened(_connect(str(path.absolute())), read_only=False, stamp=None)
    if os.access(path.parent, os.W_OK):
        return Opened(_connect(f"{_address(path)}?mode=ro", uri=True), read_only=True, stamp=None)
    return connect_to_read(path)


def connect_to_read(path: Path) -> Opened:
    """Open a file in a folder that cannot be written. Raises sqlite3.Error."""
    before = stamp(path)
    if has_log(path):  # another process writes, or was killed: without its log, parts are old
        return Opened(_connect(f"{_address(path)}?mode=ro", uri=True), read_only=True, stamp=None)
    place = f"{_address(path)}?mode=ro&immutable=1"
    return Opened(_connect(place, uri=True), read_only=True, stamp=before)


def _address(path: Path) -> str:
    return path.absolute().as_uri()


def _connect(place: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        place,
        timeout=0,  # SQLite's own waiting hears no signals
        isolation_level=None,
        check_same_thread=False,
        uri=uri,
    )


def stamp(path: Path) -> Stamp:
    """What changes with the file: its inode, size and time, and the size of its log."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns, _log_bytes(path))


def _can_write(path: Path) -> bool:
    """Whether files in the folder can be created, and the file itself changed."""
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def has_log(path: Path) -> bool:
    """Whether there are changes beside the file that are not in it yet."""
    return bool(_log_bytes(path))


def _log_bytes(path: Path) -> int:
    try:
        return Path(f"{path}-wal").stat().st_size
    except OSError:
        return 0
