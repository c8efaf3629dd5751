"""What a process leaves behind when it ends, however it ends: no folders, no children.

A folder with named files outlives a process that is killed. So a shell in a
session of its own waits for that, and removes it; POSIX only.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

# ends at the end of its input, which is when the last holder of the other end is dead; a child
# of the dead process may be writing for another moment
_REMOVE_AFTERWARDS = 'read -r _; rm -rf "$0" || { sleep 1; rm -rf "$0"; }'


@contextlib.contextmanager
def removed_on_exit(folder: Path) -> Iterator[None]:
    """Have a folder removed when the block ends, or this process in it."""
    with contextlib.ExitStack() as stack:
        if os.name == "posix":
            with contextlib.suppress(OSError):  # a system without a shell
                stack.enter_context(
                    subprocess.Popen(
                        ["/bin/sh", "-c", _REMOVE_AFTERWARDS, str(folder)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,  # out of reach of Ctrl-C
                    )
                )
        yield


def end_with_parent() -> None:
    """End this process as soon as its standard input ends.

    That is a pipe whose other end the parent holds and never writes to: its end says
    that the parent is dead, however that came.
    """
    threading.Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)  # without unwinding: what is left lies in a folder of the parent's
