"""The switch that forbids every connection: the environment variable GRITLITE_OFFLINE.

Children inherit it, and an app can set it for itself, in `os.environ`.
"""

import os

from gritlite.errors import DownloadError

VARIABLE = "GRITLITE_OFFLINE"


def is_offline() -> bool:
    """Whether connections are forbidden: the variable is set, and not to "0"."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def check_online(purpose: str) -> None:
    """Raise DownloadError if connections are forbidden; to be called before each."""
    if is_offline():
        raise DownloadError(
            f"{purpose} needs a connection, which {VARIABLE} forbids: unset it, or use a model "
            "that is here already"
        )
