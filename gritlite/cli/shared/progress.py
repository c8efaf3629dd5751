"""Progress bars on stderr, only where a person can see them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gritlite.convert import ConversionProgress


@contextlib.contextmanager
def bar(description: str, *, unit: str, total: int | None = None) -> Iterator[Any]:
    """A tqdm bar that shows rate and time left; silent unless stderr is a terminal.

    `unit` "B" counts bytes (in KiB, MiB, ...), any other counts things.
    """
    from tqdm import tqdm

    with tqdm(
        desc=description,
        total=total,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        unit_divisor=1024,
        disable=None,  # tqdm's word for: silent unless its file is a terminal
        dynamic_ncols=True,
        leave=False,
    ) as shown:
        yield shown


def show(shown: Any, done: int, total: int) -> None:
    """Bring a bar, whose total may not have been known before, to `done` of `total`."""
    shown.total = total
    shown.update(done - shown.n)


@contextlib.contextmanager
def conversion_bar() -> Iterator[Callable[["ConversionProgress"], None]]:
    """A bar over a conversion's bytes that also counts tensors: a callback for `convert`."""
    with bar("converting", unit="B") as shown:

        def advance(progress: "ConversionProgress") -> None:
            shown.set_description_str(
                f"tensor {progress.tensors_done}/{progress.tensors_total}", refresh=False
            )
            show(shown, progress.bytes_done, progress.bytes_total)

        yield advance
