"""pip, in a process that ends when its parent does.

Usage: python -m gritlite.pull.pip_child ARGUMENTS OF PIP
"""

import runpy
import sys

from gritlite.system.processes import end_with_parent


def main() -> None:
    """Run pip with this process's arguments."""
    end_with_parent()
    sys.argv[0] = "pip"
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
