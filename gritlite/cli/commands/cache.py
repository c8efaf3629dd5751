"""`gritlite cache`: the graphs that faster engines were given; comparing the engines again."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import complete_model, setting_options
from gritlite.cli.shared.tables import aligned, columns, size
from gritlite.errors import FileError
from gritlite.system.wording import printable

if TYPE_CHECKING:
    from gritlite.runtime.onnx.graph_cache import Entry


@click.group()
def command() -> None:
    """List and remove the graphs of faster engines, and compare the engines again.

    A graph is made from a model's file when an engine other than llama.cpp first runs it, and
    again when it is missing or does not fit.
    """


@command.command("list")
def list_graphs() -> None:
    """List the graphs: the model's file, the form, and how many bytes it takes."""
    from gritlite.runtime.onnx import graph_cache

    entries = graph_cache.entries()
    if not entries:
        print_notice("there are no graphs")
        return
    click.echo(columns(rows(entries)))


@command.command()
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--all", "everything", is_flag=True, help="Remove the graphs of all models.")
def remove(model: str | None, *, everything: bool) -> None:
    """Remove the graphs of a model; MODEL is its file, which need not exist, or a pulled name."""
    from gritlite.runtime.onnx import graph_cache

    if everything == (model is not None):
        raise click.UsageError("name a model, or pass --all")
    entries = graph_cache.entries()
    if model is not None:
        paths = _paths(model)
        entries = [entry for entry in entries if entry.model in paths]
        if not entries:
            raise FileError(f"there is no graph of {model}: see `gritlite cache list`")
    for entry in entries:
        graph_cache.remove(entry)
        removed = f"{_model(entry)}: {entry.form} removed, {size(entry.bytes)}"
        click.echo(printable(removed))


@command.command()
@click.argument("model", shell_complete=complete_model)
@setting_options
def check(model: str, **setting: Any) -> None:
    """Compare the engines for a model again, and show what was found.

    Each engine that is installed embeds sample texts beside llama.cpp. What is found takes the
    place of what was known, and decides what `--engine auto` embeds with: compare again after the
    machine was busy the first time, or has changed. MODEL is a path or a pulled name.
    """
    from gritlite.cli.shared.engines import compare
    from gritlite.cli.shared.verdicts import engine_rows, facts_of
    from gritlite.modelfile.header import read_header
    from gritlite.runtime.model_identity import ModelIdentity
    from gritlite.system.locate import locate

    path = locate(model)
    compare(path, setting)
    facts = facts_of(ModelIdentity(read_header(path)).fingerprint())
    click.echo(aligned(engine_rows(facts)))


def rows(entries: "Sequence[Entry]") -> list[tuple[str, ...]]:
    """One line of a table for each graph."""
    return [
        (_model(entry), entry.form, size(entry.bytes), "" if entry.graph else "will be made again")
        for entry in entries
    ]


def _model(entry: "Entry") -> str:
    return "an unknown model" if entry.model is None else str(entry.model)


def _paths(model: str) -> set[Path]:
    """The files that a name or path may mean."""
    from gritlite.system.locate import locate

    paths = {Path(model).absolute()}
    with contextlib.suppress(FileError):  # its file was removed
        paths.add(locate(model).absolute())
    return paths
