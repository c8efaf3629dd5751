"""Waiting for the end of another process, or of standard input."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable

from gritlite.errors import UsageError

_POLL = 0.5  # seconds


def when_process_ends(pid: int, call: Callable[[], None]) -> None:
    """Call from a thread when a process has ended. Raises UsageError if there is none."""
    wait = _waiter(pid)

    def watch() -> None:
        wait()
        call()

    threading.Thread(target=watch, daemon=True).start()


def when_input_ends(call: Callable[[], None]) -> None:
    """Call from a thread when standard input ends; what it holds is read and dropped."""
    descriptor = sys.stdin.fileno()

    def watch() -> None:
        try:
            while os.read(descriptor, 4096):
                pass
        except OSError:  # it was closed
            pass
        call()

    threading.Thread(target=watch, daemon=True).start()


def _waiter(pid: int) -> Callable[[], None]:
    """A function that returns when the process has ended."""
    if sys.platform == "win32":
        return _windows_waiter(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError as error:
        raise UsageError(f"there is no process {pid}") from error
    except PermissionError:  # of another user
        pass
    if hasattr(os, "pidfd_open"):
        descriptor = os.pidfd_open(pid)
        return lambda: (select.select([descriptor], [], []), None)[1]
    return lambda: _poll(pid)


def _poll(pid: int) -> None:
    parent = os.getppid()
    while True:
        if pid == parent and os.getppid() != parent:  # ended, though its parent has not asked why
            return
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        except PermissionError:
            pass
        time.sleep(_POLL)


def _windows_waiter(pid: int) -> Callable[[], None]:
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
    if not handle:
        raise UsageError(f"there is no process {pid}")
    return lambda: kernel.WaitForSingleObject(handle, 0xFFFFFFFF)
