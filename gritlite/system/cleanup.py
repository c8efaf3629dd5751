"""Leaving no folders and no child processes behind, even when the process is killed.

A temporary folder would outlive a process that is killed. So a shell in its own session
waits for the end of the process, and then removes the folder. POSIX only.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

# `read` returns at the end of its input, when the last process with the other end is dead; a
# child of the dead process may still be writing for a moment
_REMOVE_AT_END = 'read -r _; rm -rf "$0" || { sleep 1; rm -rf "$0"; }'


@contextlib.contextmanager
def remove_on_exit(folder: Path) -> Iterator[None]:
    """Remove the folder when the block ends, or when this process dies in it."""
    with contextlib.ExitStack() as stack:
        if os.name == "posix":
            with contextlib.suppress(OSError):  # a system without a shell
                stack.enter_context(
                    subprocess.Popen(
                        ["/bin/sh", "-c", _REMOVE_AT_END, str(folder)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,  # so that Ctrl-C does not reach it
                    )
                )
        yield


def exit_with_parent() -> None:
    """Exit when standard input ends.

    It is a pipe to which the parent never writes, so it ends when the parent dies, for
    whatever reason.
    """
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()


def _exit_at_end_of_input() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)  # no clean-up: whatever remains is in a folder that the parent removes
