"""Progress bars on standard error, shown only on a terminal.

A bar's clock ticks while a step runs, however long it takes, so that long work does not
look hung.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from gritlite.cli.shared.word_wrap import terminal_size

if TYPE_CHECKING:
    from gritlite.convert import ConversionProgress
    from gritlite.runtime.model import GritLM

_TICK = 1.0  # seconds
# sizes for tqdm, which in 0 columns or rows draws nothing
_FOLLOWED: dict[str, Any] = {"dynamic_ncols": True}
_ASSUMED: dict[str, Any] = {"ncols": 80, "nrows": 24}
_OF_TOTAL = (
    "{l_bar}{bar}| {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
)
_COUNT = "{desc}: {n_fmt}{unit} [{elapsed}, {rate_noinv_fmt}{postfix}]"
_CLOCK = "{desc}: {elapsed}"
_SHARE = "{l_bar}{bar}| [{elapsed}<{remaining}]"


@contextmanager
def progress_bar(
    description: str,
    *,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    hidden: bool = False,
) -> Iterator[Any]:
    """A tqdm bar that shows rate and remaining time.

    `unit` is a singular noun; with "B" the bar counts bytes in KiB, MiB and so on, and
    with "" it is a clock. `initial` units were done before. A hidden bar draws nothing.
    """
    from tqdm import tqdm

    has_size = all(terminal_size(sys.stderr))
    with tqdm(
        desc=description,
        total=total,
        initial=initial,
        unit=unit if unit == "B" else f" {unit}s",
        unit_scale=unit == "B",
        unit_divisor=1024,
        bar_format=_OF_TOTAL if total else _COUNT if unit else _CLOCK,
        disable=True if hidden else None,  # None is tqdm's value for "only on a terminal"
        **(_FOLLOWED if has_size else _ASSUMED),
        leave=False,
    ) as bar:
        if bar.disable:
            yield bar
        else:

            def tick(ended: threading.Event) -> None:
                while not ended.wait(_TICK):
                    bar.refresh()

            with alongside(tick):
                yield bar


@contextmanager
def alongside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `work` in a thread during the block, whose end sets the event."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def waiting(description: str, *, hidden: bool = False) -> Iterator[None]:
    """Show a clock during a step that reports no progress, once it has taken a second."""

    def show(ended: threading.Event) -> None:
        if not ended.wait(_TICK):
            with progress_bar(description, unit="", hidden=hidden):
                ended.wait()

    with alongside(show):
        yield


@contextmanager
def progress_callback(description: str, *, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A function of `done` and `total` that draws a bar: a progress callback for the library."""
    with progress_bar(description, unit=unit) as bar:

        def advance(done: int, total: int) -> None:
            advance_to(bar, done, total)

        yield advance


@contextmanager
def share_bar(description: str, *, hidden: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress callback that draws a bar without units, once it is called."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def advance(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar(description, unit="", hidden=hidden)))
            advance_to(bars[0], done, total)
            bars[0].bar_format = _SHARE

        yield advance


def advance_to(bar: Any, done: int, total: int) -> None:
    """Move a bar to `done` of `total`, which may not have been known before."""
    bar.total = total
    bar.bar_format = _OF_TOTAL
    bar.update(done - bar.n)


def identify(model: "GritLM") -> str:
    """The fingerprint of a model's file, which is read whole for it once, with a bar."""
    with progress_callback("reading the model", unit="B") as progress:
        return model.identity.fingerprint(progress)


@contextmanager
def conversion_bar() -> Iterator[Callable[["ConversionProgress"], None]]:
    """A progress callback for `convert` that draws a bar over bytes and counts tensors."""
    with progress_bar("converting", unit="B") as bar:

        def advance(progress: "ConversionProgress") -> None:
            bar.set_description_str(
                f"tensor {progress.tensors_done}/{progress.tensors_total}", refresh=False
            )
            advance_to(bar, progress.bytes_done, progress.bytes_total)

        yield advance
