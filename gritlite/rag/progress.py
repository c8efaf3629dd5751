"""How long jobs on a store report their progress."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]  # done, total


def no_progress(done: int, total: int) -> None:
    """Report nothing."""
