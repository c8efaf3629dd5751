"""`gritlite store`: what a store contains, whether it is intact, and making it smaller."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.options import parse_size
from gritlite.cli.shared.tables import aligned, size

if TYPE_CHECKING:
    from gritlite.rag.maintenance import Info

_store = click.argument("store", metavar="STORE", type=click.Path(path_type=Path))


@click.group()
def command() -> None:
    """Inspect and maintain a store."""


@command.command()
@_store
def info(store: Path) -> None:
    """Show what a store contains and how many bytes it takes."""
    from gritlite.rag import maintenance

    click.echo(aligned(rows(maintenance.info(store))))


@command.command()
@_store
def verify(store: Path) -> None:
    """Check the database and every state.

    Exits with 1 if anything is wrong. Nothing is changed. A damaged or missing state is
    never used: it is computed again when it is needed.
    """
    from gritlite.rag import maintenance

    problems = maintenance.verify(store)
    if problems:
        click.echo("\n".join(problems))
        sys.exit(1)
    click.echo(f"{store}: intact")


@command.command()
@_store
@click.option(
    "--states",
    "most",
    callback=parse_size,
    metavar="SIZE",
    help="Keep at most this many bytes of states, such as 2GiB: the ones used last.",
)
def prune(store: Path, most: int | None) -> None:
    """Remove states of deleted chunks, and the database's free pages."""
    from gritlite.rag import maintenance

    removed = maintenance.prune(store, most)
    click.echo(f"{store}: {removed:,} states removed")


def rows(info: "Info") -> list[tuple[str, str]]:
    """The facts about a store, as labels and texts."""
    settings = info.settings
    found = [
        ("model", settings.model),
        ("documents", f"{info.sources:,}"),
        ("chunks", f"{info.chunks:,}, {info.tokens:,} tokens (limit {settings.chunk_tokens} each)"),
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
