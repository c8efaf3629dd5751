"""pip, in a process that ends when its parent does.

Usage: python -m gritlite.hub.pip_child ARGUMENTS OF PIP

Standard input is a pipe whose other end the parent holds and never writes to:
its end of file says that the parent is dead, however that came.
"""

import os
import runpy
import sys
import threading


def main() -> None:
    """Run pip with this process's arguments."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv[0] = "pip"
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)  # without unwinding: what is left lies in the parent's workspace


if __name__ == "__main__":
    main()
