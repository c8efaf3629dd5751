"""How long jobs report their progress."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]  # units of work done, and in total

STEPS = 1000  # of a whole whose parts count in different units


def part_of(progress: ProgressCallback, begin: float, end: float) -> ProgressCallback:
    """Return a callback for the part of a whole from the share `begin` to `end`.

    `progress` then counts thousandths of the whole. A part that has nothing to do is done.
    """

    def advance(done: int, total: int) -> None:
        share = begin + (end - begin) * (done / total if total else 1.0)
        progress(round(STEPS * share), STEPS)

    return advance


def no_progress(done: int, total: int) -> None:
    """Report nothing."""
