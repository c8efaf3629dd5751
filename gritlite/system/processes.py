"""Starting a module of gritlite in a child process: the one place that does.

Where Python itself runs this program, the child is `python -P -m MODULE`. It sees the modules
that this process sees, but not those in the working folder, where any file could have the name
of a library.

In a frozen app `sys.executable` is the app, which would start again. There the child is the
app with `--gritlite-child MODULE` as its first argument, and `freeze_support` runs the module
instead of the app. So a process starts children only after it has been through
`freeze_support` itself. A copy that was started as a child and runs no module, because it never
got there, starts none: an app can never become a chain of copies.

A child's module has a function `main` without parameters, which reads `sys.argv`. What the
children do is not known here.
"""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from gritlite.errors import LibraryError, UsageError
from gritlite.system.watchers import when_process_ends

_INTERVAL = 0.05  # seconds between two looks at a child
_MARKER = "--gritlite-child"
_PARENT = "GRITLITE_PARENT"  # in a child's environment: the id of the process that started it
_CREATE_NO_WINDOW = 0x0800_0000  # subprocess has this name on Windows only

_Stream = int | IO[bytes] | IO[str] | None

_came_through_freeze_support = False
_runs_module = False  # this process is a child that does its work


def freeze_support() -> None:
    """Let a frozen app start the child processes of gritlite; call it first in the app's main.

    Where the process is such a child it does the child's work here and exits. Apps frozen by
    PyInstaller need no call: gritlite's runtime hook makes it. Elsewhere it does nothing.
    """
    global _came_through_freeze_support
    _came_through_freeze_support = True
    if sys.argv[1:2] == [_MARKER]:
        _be_child(*sys.argv[2:])
    elif _is_child() and not runs_python():
        sys.exit("gritlite: this app started itself in place of a child process, and ends")


def _be_child(name: str = "", *arguments: str) -> None:
    global _runs_module
    if not name.startswith("gritlite."):
        sys.exit(f"gritlite: {_MARKER} takes a module of gritlite")
    sys.argv = [name, *arguments]
    _runs_module = True
    importlib.import_module(name).main()
    sys.exit()


def runs_python() -> bool:
    """Whether `sys.executable` is a Python interpreter, and not an app that contains one.

    Not all tools that freeze apps set `sys.frozen`; but none makes an app named "python".
    """
    path = Path(sys.executable or "")
    return (
        not getattr(sys, "frozen", False)
        and _nuitka() is None
        and path.name.lower().startswith(("python", "pypy", "graalpy"))
        and path.is_file()
    )


def _nuitka() -> Any:
    """What Nuitka says of an app that it made with this module in it; None elsewhere."""
    compiled = globals().get("__compiled__")
    return compiled if getattr(compiled, "standalone", False) else None


def _program() -> str:
    """The file of the running program: of Python, or of the app.

    In an app of Nuitka `sys.executable` is a "python" beside it, whether there is one or not.
    One file of Nuitka has unpacked another, which runs: that one is a single process.
    """
    nuitka = _nuitka()
    named = sys.executable or "" if nuitka is None else getattr(nuitka, "process_exe", "")
    return named if Path(named).is_file() else str(Path(sys.orig_argv[0]).absolute())


def can_start() -> bool:
    """Whether this process can start children: Python always can, a frozen app if prepared."""
    prepared = _runs_module or (_came_through_freeze_support and not _is_child())
    return runs_python() or (prepared and Path(_program()).is_file())


def module_command(name: str) -> tuple[str, ...]:
    """The command line that runs a module of gritlite; give it to `start`.

    Raises LibraryError where no child can be started.
    """
    if not can_start():
        raise LibraryError(
            f"this app cannot start {name} in a child process, as {_program() or 'it'} is not "
            "Python: call gritlite.freeze_support() first in the app's main"
        )
    return (_program(), *(("-P", "-m") if runs_python() else (_MARKER,)), name)


def start(
    command: Sequence[str],
    *,
    stdin: _Stream = subprocess.DEVNULL,
    stdout: _Stream = subprocess.DEVNULL,
    stderr: _Stream = subprocess.DEVNULL,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a child in `child_environment`, without a window or console of its own.

    `environment` is added. Raises OSError if the command cannot be started.
    """
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=child_environment(**(environment or {})),
        creationflags=_CREATE_NO_WINDOW if sys.platform == "win32" else 0,
    )


def communicate(
    child: "subprocess.Popen[bytes]",
    waiting: Callable[[], object],
    timeout: float = float("inf"),
) -> tuple[bytes, bytes]:
    """Return what a child prints, as its `communicate` does.

    `waiting` is called about twenty times a second, and may raise. Raises
    subprocess.TimeoutExpired after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            return child.communicate(timeout=_INTERVAL)
        except subprocess.TimeoutExpired:
            waiting()
            if time.monotonic() >= end:
                raise


def child_environment(**added: str) -> dict[str, str]:
    """This process's environment, its id and module path, and the variables `added`."""
    found = {**os.environ, _PARENT: str(os.getpid())}
    if runs_python():
        found["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    return {**found, **added}


def end_with_parent() -> None:
    """In a child: exit when the process that started it ends, for whatever reason."""
    parent = os.environ.get(_PARENT, "")
    if parent.isdecimal():
        try:
            when_process_ends(int(parent), lambda: os._exit(1))
        except UsageError:  # it has ended
            os._exit(1)


def _is_child() -> bool:
    return _PARENT in os.environ
