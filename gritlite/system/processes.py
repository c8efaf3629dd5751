"""Python processes of our own: a module of gritlite, and the modules that this process sees.

None of the folder that the user happens to stand in, where any file could bear a library's name.
"""

import os
import sys


def module(name: str) -> tuple[str, ...]:
    """The command that runs a module; give it `environment`."""
    return (sys.executable, "-P", "-m", name)


def environment(**added: str) -> dict[str, str]:
    """This process's environment and module path, and the variables `added`."""
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    return {**os.environ, "PYTHONPATH": path, **added}
