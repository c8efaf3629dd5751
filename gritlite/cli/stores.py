"""What the commands about stores share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gritlite.rag.searching import Passage

store_option: Callable[[Any], Any] = click.option(
    "--store",
    "store_path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The store's file.",
)


def origin(passage: "Passage") -> str:
    """Where a passage comes from: its file, seen from here if it lies below, and the place."""
    here = Path.cwd()
    source = passage.source
    shown = source.relative_to(here) if source.is_relative_to(here) else source
    return f"{shown}, {passage.place}" if passage.place else str(shown)
