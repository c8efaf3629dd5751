"""`gritlite store`: what a store holds, whether it is whole, and making it smaller."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.options import byte_count
from gritlite.rag import maintenance

if TYPE_CHECKING:
    from gritlite.rag.maintenance import Info

_store = click.argument("store", metavar="STORE", type=click.Path(path_type=Path))


@click.group()
def command() -> None:
    """Look after a store."""


@command.command()
@_store
def info(store: Path) -> None:
    """Show what a store holds and the bytes that it takes."""
    from gritlite.cli.shared.tables import aligned

    click.echo(aligned(rows(maintenance.info(store))))


@command.command()
@_store
def verify(store: Path) -> None:
    """Check the database and every state, and exit with 1 when something is wrong.

    Nothing is changed. States that are damaged or missing are never used: what they
    held is computed again.
    """
    problems = maintenance.verify(store)
    if problems:
        click.echo("\n".join(problems))
        sys.exit(1)
    click.echo(f"{store}: whole")


@command.command()
@_store
@click.option(
    "--states",
    "most",
    callback=byte_count,
    metavar="SIZE",
    help="Keep so many bytes of states at most, as 2GiB: those that were used last.",
)
def prune(store: Path, most: int | None) -> None:
    """Remove what nothing needs: states of no chunk, and the database's free pages."""
    removed = maintenance.prune(store, most)
    click.echo(f"{store}: {removed:,} states removed")


def rows(info: "Info") -> list[tuple[str, str]]:
    """The facts of a store as labels and texts."""
    from gritlite.cli.shared.tables import size

    settings = info.settings
    found = [
        ("model", settings.model),
        ("documents", f"{info.sources:,}"),
        ("chunks", f"{info.chunks:,}, {info.tokens:,} tokens in all, {settings.chunk_tokens} each"),
        ("vectors", settings.vectors),
        ("file", size(info.file_bytes)),
    ]
    if info.pending:
        found.append(("to be embedded", f"{info.pending:,} documents: run `gritlite index` again"))
    if settings.states != "none":
        budget = f" of {size(settings.states_budget)}" if settings.states_budget else ""
        kept = f"{info.states.states:,}, {settings.states}, {size(info.states.bytes)}{budget}"
        found.append(("states", kept))
    return found
