"""Progress bars on standard error, shown only on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(description: str, *, unit: str, total: int | None = None) -> Iterator[Any]:
    """A tqdm bar that shows rate and remaining time.

    With the unit "B" it counts bytes in KiB, MiB and so on.
    """
    from tqdm import tqdm

    with tqdm(
        desc=description,
        total=total,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        unit_divisor=1024,
        disable=None,  # tqdm's value for "only on a terminal"
        dynamic_ncols=True,
        leave=False,
    ) as bar:
        yield bar


@contextmanager
def progress_callback(description: str, *, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A function of `done` and `total` that draws a bar: a progress callback for the library."""
    with progress_bar(description, unit=unit) as bar:

        def advance(done: int, total: int) -> None:
            advance_to(bar, done, total)

        yield advance


def advance_to(bar: Any, done: int, total: int) -> None:
    """Move a bar to `done` of `total`, which may not have been known before."""
    bar.total = total
    bar.update(done - bar.n)
