"""How long jobs report their progress."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]  # units of work done, and in total


def no_progress(done: int, total: int) -> None:
    """Report nothing."""
