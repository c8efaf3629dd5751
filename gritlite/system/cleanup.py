"""Leaving no folders behind, even when the process is killed.

A temporary folder would outlive a process that is killed. So a shell in its own session
waits for the end of the process, and then removes the folder. POSIX only.
"""

import contextlib
import os
import subprocess
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
