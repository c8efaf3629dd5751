"""Models that are missing: fetched where that was asked for, offered at a terminal.

Elsewhere a missing model stays an error that names the command, for nobody expects a
script to download gigabytes.
"""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.notices import print_notice
from gritlite.errors import FileError

if TYPE_CHECKING:
    from gritlite.convert import ConversionProgress

_KEY = "gritlite.pull"


def _remember(context: click.Context, _option: click.Parameter, value: bool | None) -> None:
    context.meta[_KEY] = value


pull_option = click.option(
    "--pull/--no-pull",
    default=None,
    envvar="GRITLITE_PULL",
    show_envvar=True,
    expose_value=False,  # read by `locate_or_pull`, however deep it is called
    callback=_remember,
    help="Fetch a missing model without asking, or never. By default a terminal is asked.",
)


def locate_or_pull(name: str) -> Path:
    """The file or folder of a model, which is fetched if it may be.

    Raises FileError if it is neither there nor fetched, and what `gritlite.pull.models.pull`
    raises.
    """
    from gritlite.system.locate import locate

    try:
        return locate(name)
    except FileError:
        if not _may_pull(name):
            raise
    return fetch(name)


def fetch(name: str, *, revision: str | None = None, force: bool = False) -> Path:
    """Fetch a model into the cache. Raises what `gritlite.pull.models.pull` raises."""
    # its warnings about retries would come between our lines; set before it is imported
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    from gritlite.cli.shared.progress import conversion_bar
    from gritlite.pull.models import pull

    with ExitStack() as stack:
        bars: list[Callable[[ConversionProgress], None]] = []

        def merging(progress: "ConversionProgress") -> None:
            if not bars:  # pip draws its own before
                bars.append(stack.enter_context(conversion_bar()))
            bars[0](progress)

        return pull(
            name,
            revision=revision,
            force=force,
            notify=print_notice,
            on_progress=merging,
            shows_bars=True,
        )


def _may_pull(name: str) -> bool:
    from gritlite.system.catalog import CATALOG
    from gritlite.system.locate import is_repository

    context = click.get_current_context(silent=True)
    chosen = context.meta.get(_KEY) if context else None
    if chosen is not None:
        return bool(chosen) and (name in CATALOG or (is_repository(name) and not _is_path(name)))
    if name not in CATALOG or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    model = CATALOG[name]
    return click.confirm(
        f"The model {name} has not been pulled. Fetch it now "
        f"({_megabytes(model.download)} to download, {_megabytes(model.size)} on the disk)?",
        err=True,
    )


def _is_path(name: str) -> bool:
    """Whether the first part of the name is a folder here, so that a file was meant."""
    return Path(name).parent.is_dir()


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
