"""The socket that the server listens on, made before the model is loaded."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from gritlite.errors import FileError, UsageError
from gritlite.serve.settings import Settings

BACKLOG = 2048  # connections that the system keeps until they are accepted
_ONLY_OWNER = 0o600  # no one else may connect


def bind(settings: Settings) -> socket.socket:
    """The socket, which clients can reach from now on.

    Raises UsageError for an address that cannot be used, FileError for a path that is taken.
    """
    return _bind_port(settings) if settings.uds is None else _bind_unix(settings.uds)


def _bind_port(settings: Settings) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UsageError(f"{settings.host} is not an address of this machine: {error}") from error
    bound = socket.socket(family, kind)
    try:
        if os.name == "posix":  # on Windows it would let two servers have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise UsageError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another "
            "port, or 0 for any that is free"
        ) from error
    return bound


def _bind_unix(path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("this system has no Unix sockets: use a host and a port")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone_in(path.parent):
            _remove_stale(path)
            bound.bind(str(path))
            # before anybody can connect, and not by umask, which all threads share
            path.chmod(_ONLY_OWNER)
            bound.listen(BACKLOG)
    except BaseException as error:
        bound.close()
        if not isinstance(error, OSError):
            raise
        raise UsageError(f"cannot make the socket {path}: {error.strerror or error}") from error
    return bound


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait for other servers that look at a socket in the same folder: one would remove another's.

    Raises OSError.
    """
    import fcntl  # not on Windows, which has no Unix sockets either

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which releases the lock


def _remove_stale(path: Path) -> None:
    """Remove a socket that a killed server left. Raises FileError for anything else there."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileError(f"{path} exists and is not a socket: choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        try:
            other.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise FileError(f"another server listens on {path}: stop it or choose another path")


def place_of(uds: Path | None) -> tuple[int, int] | None:
    """What tells a Unix socket's file from another that takes its path; None if there is none."""
    if uds is None:
        return None
    with contextlib.suppress(OSError):
        found = uds.lstat()
        return found.st_dev, found.st_ino
    return None


def release(bound: socket.socket, settings: Settings, place: tuple[int, int] | None) -> None:
    """Close the socket, and remove its file, unless its path is another server's by now."""
    bound.close()
    if settings.uds is not None and place == place_of(settings.uds) is not None:
        with contextlib.suppress(OSError):
            settings.uds.unlink()


def url_of(bound: socket.socket, settings: Settings) -> str:
    """Where clients on this machine reach the server."""
    if settings.uds is not None:
        return f"unix:{settings.uds.absolute()}"
    scheme = "http" if settings.tls_cert is None else "https"
    host, port = settings.host, bound.getsockname()[1]
    if settings.is_everywhere:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
