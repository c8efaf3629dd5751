"""How the command line ends: errors on one line, exit codes, clean-up on signals.

Exit codes: 0 for success, 1 for a failure of the machine or of gritlite, 2 for a mistake
of the user, 130 when interrupted, 143 when terminated. If the system refuses something,
the error number decides between 1 and 2, for an OSError and for a FileError made from
one. The module does not know the commands.
"""

import contextlib
import errno
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

import click

from gritlite.cli.shared.advice import advised_message
from gritlite.cli.shared.notices import print_notice
from gritlite.errors import FileError, GritLiteError
from gritlite.system.files import DISK_FULL

FAILED = 1
MISTAKE = 2
INTERRUPTED = 128 + signal.SIGINT
# refusals of the system that the user can fix: a name, a permission, a full disk
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
    """Replace standard streams that the parent closed by the null device.

    The order gives each stream its usual descriptor, so that no other file takes it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - stays open


def escape_unencodable() -> None:
    r"""Write characters that a stream's encoding lacks as \u escapes, where it is not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def unwind_on_signals() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit, and SIGINT KeyboardInterrupt: blocks clean up.

    A signal that the parent set to be ignored (nohup) stays ignored. A second SIGTERM or
    SIGHUP ends the process at once.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in _ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _unwind)


def _unwind(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


def end_on_interrupt() -> None:
    """Let Ctrl-C end the process at once: nothing is left to be cleaned up."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def warnings_as_lines() -> None:
    """Show each warning as one line, without the source location."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _print_line(f"warning: {message}")

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
            sys.stdout.flush()  # a full disk can still be reported here
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        sys.exit(_print_error(error))


def _print_error(error: BaseException) -> int:
    """Print what went wrong, and return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.UsageError):
        hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        _print_line(f"error: {error.format_message().rstrip('.')}{hint}")
        return error.exit_code
    if isinstance(error, click.ClickException):
        _print_line(f"error: {error.format_message()}")
        return error.exit_code
    if isinstance(error, GritLiteError):
        _print_line(f"error: {advised_message(error)}")
        if isinstance(error, FileError) and isinstance(error.__cause__, OSError):
            return _exit_code(error.__cause__)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        _discard(sys.stdout)
        return FAILED
    if isinstance(error, OSError):
        _discard(sys.stdout)
        _print_line(f"error: {describe_os_error(error)}")
        return _exit_code(error)
    if isinstance(error, MemoryError):
        _print_line("error: out of memory: close other programs, or use a smaller model or context")
        return FAILED
    if isinstance(error, click.Abort):  # click wraps Ctrl-C and a stray EOFError so
        error = error.__cause__ or error
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _print_line("interrupted")
        return INTERRUPTED
    _print_line(
        f"error: unexpected {type(error).__name__}: {error} "
        "(run again as `gritlite --debug ...` for the traceback)"
    )
    return FAILED


def _print_line(message: str) -> None:
    try:
        print_notice(" ".join(message.split()))
    except OSError:  # standard error is closed or full; the exit code remains
        _discard(sys.stderr)


def _exit_code(error: OSError) -> int:
    return MISTAKE if error.errno in _MISTAKES else FAILED


def describe_os_error(error: OSError) -> str:
    """The system's error message, with the file if it names one."""
    what = error.strerror or str(error) or type(error).__name__
    if error.errno in DISK_FULL:
        what += ": free some space and run the command again"
    return f"{os.fsdecode(error.filename)}: {what}" if error.filename else what


def _discard(stream: TextIO) -> None:
    """Drop what a stream still buffers, which the interpreter would fail to flush at its exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
