"""Atomic writing of files and folders, and the digest of a file.

On Linux a file is written without a name (O_TMPFILE) and gets its name when it is
complete, so even `kill -9` leaves nothing behind. Elsewhere a hidden file beside it is
renamed. The module does not know what is written.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gritlite.errors import FileError, OutputExistsError
from gritlite.system.cleanup import remove_on_exit

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_WRITE_ERRORS = (errno.EFBIG, errno.EROFS, errno.EPERM, *DISK_FULL)


def check_output(path: Path, *, force: bool) -> None:
    """Fail early if `path` cannot be written, before hours of work are spent on it.

    Raises OutputExistsError if it exists and `force` is false, and FileError if its folder
    is missing or not writable, if it is a folder itself, or if the system rejects the path.
    """
    try:
        path.lstat()
        is_there, is_folder = path.exists(), path.is_dir()
    except (FileNotFoundError, NotADirectoryError):
        is_there = is_folder = False
    except (OSError, ValueError) as error:  # no permission, a name too long, a zero byte
        raise FileError(f"cannot write {str(path)!r}: {error}") from error
    if is_folder:
        raise FileError(f"{path} is a folder: name a file to write")
    if is_there and not force:
        raise OutputExistsError(f"{path} exists already")
    if not path.parent.is_dir():
        raise FileError(f"the folder {path.parent} does not exist: create it first")
    if not os.access(path.parent, os.W_OK):
        raise FileError(f"no permission to write in {path.parent}")


@contextlib.contextmanager
def atomic_write(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that appears as `path` when the block ends without an exception.

    Raises what `check_output` raises, and FileError if the disk is full or a write fails.
    """
    check_output(path, force=force)
    with _caller_file_errors(path):
        with _file_errors(path):
            pending = _unnamed_file(path) or _hidden_file(path)
        with pending:
            yield pending.file
            with _file_errors(path):
                pending.file.flush()
                os.fsync(pending.file.fileno())
                pending.publish(force=force)


@contextlib.contextmanager
def atomic_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A new folder to fill, which appears as `path` when the block ends without an exception.

    With `force` it replaces a folder of that name, but never a file. Raises
    OutputExistsError, and FileError if it cannot be written.
    """
    check_output_folder(path, force=force)
    with _caller_file_errors(path):
        with _file_errors(path):
            hidden = tempfile.TemporaryDirectory(
                dir=path.parent,
                prefix=f".{path.name[:40]}.",
                suffix=".part",
                ignore_cleanup_errors=True,
            )
        with hidden as name, remove_on_exit(Path(name)):
            new, old = Path(name) / "new", Path(name) / "old"
            new.mkdir()
            yield new
            with _file_errors(path):
                with contextlib.suppress(FileNotFoundError):
                    path.rename(old)
                try:
                    new.rename(path)
                except OSError:
                    if old.exists():
                        old.rename(path)
                    raise


def check_output_folder(path: Path, *, force: bool) -> None:
    """Fail early if the folder `path` cannot be written. Raises what `atomic_folder` raises."""
    if path.is_dir():
        if not force:
            raise OutputExistsError(f"{path} exists already")
    else:
        check_output(path, force=False)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Turn OSErrors into FileErrors that say what to do."""
    try:
        yield
    except FileExistsError as error:
        raise OutputExistsError(f"{path} was created by another process meanwhile") from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise FileError(
                f"the disk is full while writing {path}: free some space and try again"
            ) from error
        raise FileError(f"cannot write {path}: {error.strerror}") from error


@contextlib.contextmanager
def _caller_file_errors(path: Path) -> Iterator[None]:
    """The same for writes in the caller's block, but not for other files that it opens or reads."""
    try:
        yield
    except OSError as error:
        if error.errno not in _WRITE_ERRORS or error.filename:
            raise
        with _file_errors(path):
            raise


class _Pending:
    """A file that is being written; `publish` gives it its name."""

    def __init__(self, file: BinaryIO, target: Path, hidden: Path | None) -> None:
        self.file = file
        self._target = target
        self._hidden = hidden

    def __enter__(self) -> "_Pending":
        return self

    def __exit__(self, *_: object) -> None:
        # the file is discarded, so a failed flush must not hide the first error
        with contextlib.suppress(OSError):
            self.file.close()
        if self._hidden is not None:
            self._hidden.unlink(missing_ok=True)

    def publish(self, *, force: bool) -> None:
        if self._hidden is None:
            if not force:
                _link_descriptor(self.file.fileno(), self._target)
                return
            self._hidden = _hidden_name(self._target)
            _link_descriptor(self.file.fileno(), self._hidden)
        if force:
            self._hidden.replace(self._target)
        else:
            os.link(self._hidden, self._target)


def _link_descriptor(descriptor: int, path: Path) -> None:
    # with a folder descriptor CPython calls linkat(AT_SYMLINK_FOLLOW); plain link() would try to
    # link the /proc entry itself
    root = os.open("/", os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=root, follow_symlinks=True)
    finally:
        os.close(root)


def _hidden_name(path: Path) -> Path:
    return path.with_name(
        f".{path.name[:40]}.{secrets.token_hex(4)}.part"
    )  # names are limited to 255 bytes


def _unnamed_file(path: Path) -> _Pending | None:
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            return None  # a file system without unnamed files
        raise
    return _Pending(os.fdopen(descriptor, "w+b"), path, None)


def _hidden_file(path: Path) -> _Pending:
    hidden = _hidden_name(path)
    return _Pending(open(hidden, "x+b"), path, hidden)
