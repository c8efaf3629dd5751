"""A trial: running a command in a child process that may crash, and saying how it ended.

A crash of the child, a failure and a hang are results. What came from outside (no disk
space, no memory, a signal of somebody else) is none. The module does not know what is tried.
"""

import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gritlite.errors import LibraryError
from gritlite.system import processes

NO_ROOM = 75  # a child's exit code when disk space or memory runs out; EX_TEMPFAIL of sysexits.h
# signals of a crash; any other was sent from outside, for example by the out-of-memory killer
_CRASHES = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")


@dataclass(frozen=True)
class Trial:
    """How a child ended: `problem` is "" on success, and `output` is what it printed.

    A child that `timed_out` may hang, or the machine may be busy.
    """

    problem: str
    output: str
    timed_out: bool = False


def run_trial(
    command: Sequence[str], *, timeout: float, waiting: Callable[[], object] = lambda: None
) -> Trial:
    """Run a command for up to `timeout` seconds.

    `waiting` is called about twenty times a second; an error of it ends the child, and is raised.
    Raises LibraryError if it failed for a reason outside llama.cpp: no disk space, no
    memory, a signal from outside, or a command that cannot be started.
    """
    try:
        with (
            tempfile.TemporaryDirectory() as folder,  # a crashing child does not clean up
            processes.start(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # without the variable ggml starts a debugger before it aborts
                environment={"TMPDIR": folder, "GGML_NO_BACKTRACE": "1"},
            ) as child,
        ):
            try:
                output, messages = processes.communicate(child, waiting, timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                printed = _text(child.communicate()[0])
                return Trial(f"no result after {timeout:g} s", printed, timed_out=True)
            except BaseException:
                child.kill()
                raise
    except OSError as error:
        raise untested(f"{command[0]} cannot be started: {error.strerror}") from error
    return Trial(_problem(child.returncode, messages), _text(output))


def _problem(status: int, messages: bytes) -> str:
    """Return "" for success, otherwise how llama.cpp failed. Raises as `run_trial`."""
    if status == 0:
        return ""
    if status == -signal.SIGILL:
        return "illegal instruction: built for another processor"
    if status < 0:
        name = signal.Signals(-status).name
        if name in _CRASHES:
            return f"killed by {name}"
        reason = ", probably because memory ran out" if name == "SIGKILL" else ""
        raise untested(f"the child was killed by {name}{reason}")
    lines = _text(messages).strip().splitlines()
    message = lines[-1] if lines else "no message"
    if status == NO_ROOM:
        raise untested(f"out of memory or of space in {tempfile.gettempdir()}: {message}")
    return f"exit code {status}: {message}"


def untested(reason: str) -> LibraryError:
    """Return the error for a trial that gave no result."""
    return LibraryError(
        f"llama.cpp could not be tested ({reason}): fix that and run the command again"
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
