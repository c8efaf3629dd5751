"""pip, in a process that ends when its parent does.

Usage: python -m gritlite.pull.pip_child ARGUMENTS OF PIP

Standard input is a pipe whose other end the parent holds (`exit_with_parent`).
"""

import runpy
import sys

from gritlite.system.cleanup import exit_with_parent


def main() -> None:
    """Run pip with this process's arguments."""
    exit_with_parent()
    sys.argv[0] = "pip"
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
