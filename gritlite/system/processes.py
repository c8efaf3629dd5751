"""Running a module of gritlite in a child process.

The child sees the modules that this process sees, but not those in the working folder,
where any file could have the name of a library.
"""

import os
import sys


def module_command(name: str) -> tuple[str, ...]:
    """The command line that runs a module in the environment from `child_environment`."""
    return (sys.executable, "-P", "-m", name)


def child_environment(**added: str) -> dict[str, str]:
    """This process's environment with its module path, and the variables `added`."""
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    return {**os.environ, "PYTHONPATH": path, **added}
