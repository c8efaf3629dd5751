"""Messages to the user that are not results."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM


def print_origin(path: Path) -> None:
    """Say which revision a model has that was found in the Hugging Face cache."""
    from gritlite.system.hub_cache import commit_of

    commit = commit_of(path)
    if commit is not None:
        print_notice(f"used as it lies in the Hugging Face cache, commit {commit}")


def print_if_untrained(name: str, model: "GritLM") -> None:
    """Say that a model is not known to embed, unless it is the catalog's own that is."""
    from gritlite.system.catalog import CATALOG, MergedAdapter

    is_ours = name in CATALOG and isinstance(CATALOG[name].source, MergedAdapter)
    if not (is_ours or model.is_trained_to_embed):
        print_notice(
            f"{model.path.name} does not say that it was trained to embed: the vectors of a model "
            "that only generates find little"
        )


def print_notice(text: str) -> None:
    """Write a line to standard error, after the program's name, above a progress bar."""
    bars = sys.modules.get("tqdm")
    with bars.tqdm.external_write_mode(file=sys.stderr) if bars else nullcontext():
        click.echo(f"gritlite: {text}", err=True)
