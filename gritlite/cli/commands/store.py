"""`gritlite store`: what a store contains, whether it is intact, and removing what is too much."""

import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import parse_size
from gritlite.cli.shared.tables import aligned, columns, size
from gritlite.system.wording import counted, printable

if TYPE_CHECKING:
    from gritlite.rag.maintenance import Info, StoredDocument

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


@command.command("list")
@_store
def list_documents(store: Path) -> None:
    """List the documents of a store under the folders that were indexed.

    Shows size and time of each file when it was read, and its number of chunks.
    """
    from gritlite.rag import maintenance

    documents = maintenance.documents(store)
    if not documents:
        print_notice(f"{store} has no documents: index some with `gritlite index`")
    for root, group in groupby(documents, key=lambda document: document.root):
        click.echo("\n".join(listing(root, list(group))))


@command.command()
@_store
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
def remove(store: Path, paths: tuple[Path, ...]) -> None:
    """Remove documents from a store; PATH is a document, or a folder of documents.

    The files themselves are not touched, and need not exist. A folder that still exists is
    read again when it is indexed again.
    """
    from gritlite.rag import maintenance

    for removed in maintenance.remove(store, paths):
        documents = counted(removed.documents, "document")
        click.echo(f"{store}: {documents} removed: {printable(str(removed.path))}")


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
    click.echo(f"{store}: {counted(removed, 'state')} removed")


def listing(root: Path, documents: "Sequence[StoredDocument]") -> list[str]:
    """A root and its documents, as lines of a table."""
    count = counted(len(documents), "document")
    total = _kibibytes(sum(document.bytes for document in documents))
    gone = "; it does not exist now" if not root.exists() else ""
    cells = [
        (
            f"  {document.path.relative_to(root) if document.path != root else root.name}",
            _kibibytes(document.bytes),
            _time(document.modified_ns),
            counted(document.chunks, "chunk"),
            _remark(document),
        )
        for document in documents
    ]
    head = printable(f"{root}: {count}, {total}{gone}")
    return [head, *columns(cells).splitlines()]


def _kibibytes(count: int) -> str:
    return f"{count / 1024:,.1f} KiB"


def _time(nanoseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(nanoseconds / 1e9):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # before the year 1, on some file systems
        return "?"


def _remark(document: "StoredDocument") -> str:
    if document.gone:
        return "gone"
    return "" if document.complete else "not embedded yet"


def rows(info: "Info") -> list[tuple[str, str]]:
    """The facts about a store, as labels and texts."""
    settings = info.settings
    tokens = counted(info.tokens, "token")
    found = [
        ("model", settings.model),
        ("documents", f"{info.sources:,}"),
        ("chunks", f"{info.chunks:,}, {tokens} (limit {settings.chunk_tokens} each)"),
        ("vectors", settings.vectors),
        ("file", size(info.file_bytes)),
    ]
    if info.pending:
        pending = counted(info.pending, "document")
        found.append(("to be embedded", f"{pending}: run `gritlite index` again"))
    found += [
        ("gone", f"{root.path}, {counted(root.documents, 'document')}: see `gritlite store list`")
        for root in info.roots
        if root.documents and root.gone
    ]
    if settings.main_text:
        found.append(("web pages", "their main text only"))
    if settings.states != "none":
        budget = f" of {size(settings.states_budget)}" if settings.states_budget else ""
        kept = f"{info.states.states:,}, {settings.states}, {size(info.states.bytes)}{budget}"
        found.append(("states", kept))
    return found
