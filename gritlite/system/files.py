"""Outputs that appear whole or not at all, and the digest of a file.

On Linux the bytes go into an unnamed file (O_TMPFILE) that gets its name when
it is complete, so even `kill -9` leaves nothing behind. Elsewhere a hidden
neighbour is renamed into place. The module does not know what is written.
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
from gritlite.system.cleanup import removed_on_exit

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_WRITES = (errno.EFBIG, errno.EROFS, errno.EPERM, *DISK_FULL)


def check_output(path: Path, *, force: bool) -> None:
    """Fail early if `path` cannot become an output, before hours of work are spent on it.

    Raises OutputExistsError if it stands and `force` is false, and FileError if
    its folder is missing or not writable, or if it is a folder itself, or if the
    system does not take such a path.
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
        raise OutputExistsError(f"{path} exists: pass --force to replace it, or name another file")
    if not path.parent.is_dir():
        raise FileError(f"the folder {path.parent} does not exist: create it first")
    if not os.access(path.parent, os.W_OK):
        raise FileError(f"no permission to write in {path.parent}")


@contextlib.contextmanager
def replacing(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open `path` for writing; it gets its name when the block ends without an exception.

    Raises as `check_output` does, and FileError when the disk is full or the
    system refuses a write.
    """
    check_output(path, force=force)
    with _block_mended(path):
        with _mended(path):
            pending = _unnamed_file(path) or _hidden_file(path)
        with pending:
            yield pending.file
            with _mended(path):
                pending.file.flush()
                os.fsync(pending.file.fileno())
                pending.publish(force=force)


@contextlib.contextmanager
def replacing_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A new folder to fill; it gets the name `path` when the block ends without an exception.

    With `force` a folder of that name is removed for it, but nothing else is.
    Raises OutputExistsError and FileError, also when the disk is full.
    """
    check_folder(path, force=force)
    with _block_mended(path):
        with _mended(path):
            hidden = tempfile.TemporaryDirectory(
                dir=path.parent,
                prefix=f".{path.name[:40]}.",
                suffix=".part",
                ignore_cleanup_errors=True,
            )
        with hidden as name, removed_on_exit(Path(name)):
            new, old = Path(name) / "new", Path(name) / "old"
            new.mkdir()
            yield new
            with _mended(path):
                with contextlib.suppress(FileNotFoundError):
                    path.rename(old)
                try:
                    new.rename(path)
                except OSError:
                    if old.exists():
                        old.rename(path)
                    raise


def check_folder(path: Path, *, force: bool) -> None:
    """Fail early if `path` cannot become a folder of outputs; raises as `replacing_folder`."""
    if path.is_dir():
        if not force:
            raise OutputExistsError(
                f"{path} exists: pass --force to replace it, or name another folder"
            )
    else:
        check_output(path, force=False)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _mended(path: Path) -> Iterator[None]:
    """Turn the system's refusals into errors that say what to do."""
    try:
        yield
    except FileExistsError as error:
        raise OutputExistsError(f"{path} was created by someone else meanwhile") from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise FileError(
                f"the disk is full while writing {path}: free some space and run the command again"
            ) from error
        raise FileError(f"cannot write {path}: {error.strerror}") from error


@contextlib.contextmanager
def _block_mended(path: Path) -> Iterator[None]:
    """The same for the writes of the caller's block; what it opens and reads is its own affair."""
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_WRITES or error.filename:
            raise
        with _mended(path):
            raise


class _Pending:
    """A file being written: `publish` gives it its name."""

    def __init__(self, file: BinaryIO, target: Path, hidden: Path | None) -> None:
        self.file = file
        self._target = target
        self._hidden = hidden

    def __enter__(self) -> "_Pending":
        return self

    def __exit__(self, *_: object) -> None:
        # a failed flush of what is thrown away anyway must not hide the first error
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
    # naming a folder descriptor makes CPython call linkat(AT_SYMLINK_FOLLOW); plain link()
    # would try to link the /proc entry itself
    root = os.open("/", os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=root, follow_symlinks=True)
    finally:
        os.close(root)


def _hidden_name(path: Path) -> Path:
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")  # a name has 255 bytes


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
