"""A trial: running a command in a child process that may crash, and saying how it ended.

A crash of the child, a failure and a hang are results. What came from outside (no disk
space, no memory, a signal of somebody else) is none. The module does not know what is tried.
"""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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


def can_run() -> bool:
    """Whether a child can run one of gritlite's modules.

    In a frozen app `sys.executable` is the app, which would start again.
    """
    return not getattr(sys, "frozen", False)


def run_trial(command: Sequence[str], *, timeout: float) -> Trial:
    """Run a command for up to `timeout` seconds.

    Raises LibraryError if it failed for a reason outside llama.cpp: no disk space, no
    memory, a signal from outside, or a command that cannot be started.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:  # a crashing child does not clean up
            done = subprocess.run(
                command,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                # without the variable ggml starts a debugger before it aborts
                env=processes.child_environment(TMPDIR=folder, GGML_NO_BACKTRACE="1"),
                timeout=timeout,
                check=False,
            )
    except subprocess.TimeoutExpired as expired:
        printed = _text(expired.stdout or b"")
        return Trial(f"no result after {timeout:g} s", printed, timed_out=True)
    except OSError as error:
        raise untested(f"{command[0]} cannot be started: {error.strerror}") from error
    return Trial(_problem(done), _text(done.stdout))


def _problem(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return "" for success, otherwise how llama.cpp failed. Raises as `run_trial`."""
    if done.returncode == 0:
        return ""
    if done.returncode == -signal.SIGILL:
        return "illegal instruction: built for another processor"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        if name in _CRASHES:
            return f"killed by {name}"
        reason = ", probably because memory ran out" if name == "SIGKILL" else ""
        raise untested(f"the child was killed by {name}{reason}")
    lines = _text(done.stderr).strip().splitlines()
    message = lines[-1] if lines else "no message"
    if done.returncode == NO_ROOM:
        raise untested(f"out of memory or of space in {tempfile.gettempdir()}: {message}")
    return f"exit code {done.returncode}: {message}"


def untested(reason: str) -> LibraryError:
    """Return the error for a trial that gave no result."""
    return LibraryError(
        f"llama.cpp could not be tested ({reason}): fix that and run the command again"
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
