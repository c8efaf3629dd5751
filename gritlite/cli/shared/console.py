"""How the command line ends: one line for an error, an exit code, unwinding on signals.

Exit codes: 0 done, 1 a failure of the machine or of gritlite, 2 a mistake in the
call, 130 interrupted, 143 terminated. For what the system refuses, its reason
decides, whether it comes as OSError or as the FileError that one became. The
module knows no command.
"""

import contextlib
import errno
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

import click

from gritlite.errors import FileError, GritLiteError
from gritlite.system.files import DISK_FULL

FAILED = 1
MISTAKE = 2
INTERRUPTED = 128 + signal.SIGINT
# what the system refuses, and the user can mend: a name, a permission, a disk that is full
_MISTAKES = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EFBIG,
    *DISK_FULL,
)
_ENDING_SIGNALS = ("SIGTERM", "SIGHUP")


def fill_closed_streams() -> None:
    """Give standard streams that the parent closed an empty file in their place.

    In this order each gets its own descriptor, so that no other file takes it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for good


def unwind_on_termination() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit, so that with-blocks clean up.

    A signal that the parent set to be ignored (nohup) stays ignored; a second
    one ends the process at once.
    """
    for name in _ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _unwind)


def _unwind(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


def warnings_as_lines() -> None:
    """Show warnings as one line each, without the place in the code that gave them."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _say(f"warning: {message}")

    warnings.showwarning = show


@contextlib.contextmanager
def one_line_errors(*, debug: bool) -> Iterator[None]:
    """Turn any exception of the block into one line on stderr and an exit code.

    With `debug` the traceback comes before the line.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here a full disk can still be told in words
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        sys.exit(_report(error))


def _report(error: BaseException) -> int:
    """Say what went wrong; return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.UsageError):
        hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        _say(f"error: {error.format_message().rstrip('.')}{hint}")
        return error.exit_code
    if isinstance(error, click.ClickException):
        _say(f"error: {error.format_message()}")
        return error.exit_code
    if isinstance(error, GritLiteError):
        _say(f"error: {error}")
        if isinstance(error, FileError) and isinstance(error.__cause__, OSError):
            return _exit_code(error.__cause__)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        _discard(sys.stdout)
        return FAILED
    if isinstance(error, OSError):
        _discard(sys.stdout)
        _say(f"error: {system_message(error)}")
        return _exit_code(error)
    if isinstance(error, MemoryError):
        _say("error: out of memory: close other programs, or take a smaller model or context")
        return FAILED
    if isinstance(error, click.Abort):  # click's wrapping of Ctrl-C and of a stray EOFError
        error = error.__cause__ or error
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _say("interrupted")
        return INTERRUPTED
    _say(
        f"error: unexpected {type(error).__name__}: {error} "
        "(run again as `gritlite --debug ...` for the traceback)"
    )
    return FAILED


def _say(message: str) -> None:
    try:
        click.echo(f"gritlite: {' '.join(message.split())}", err=True)
    except OSError:  # nowhere left to say it; the exit code still tells
        _discard(sys.stderr)


def _exit_code(error: OSError) -> int:
    return MISTAKE if error.errno in _MISTAKES else FAILED


def system_message(error: OSError) -> str:
    """What the system refused, and of which file where it says so."""
    what = error.strerror or str(error) or type(error).__name__
    if error.errno in DISK_FULL:
        what += ": free some space and run the command again"
    return f"{os.fsdecode(error.filename)}: {what}" if error.filename else what


def _discard(stream: TextIO) -> None:
    """Drop what a stream still buffers: the interpreter's own flush would fail again, loudly."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
