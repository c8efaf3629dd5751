"""`gritlite store`: what a store contains, whether it is intact, and removing what is too much."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.metadata_options import where_option
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import parse_size
from gritlite.cli.shared.tables import aligned, columns, size
from gritlite.system.wording import counted, printable

if TYPE_CHECKING:
    from gritlite.rag.listing import StoredDocument
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


@command.command("list")
@_store
@where_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each document.")
def list_documents(store: Path, where: dict[str, Any] | None, as_json: bool) -> None:
    """List the documents of a store under the folders that were indexed.

    Shows size and time of each file when it was read, and its number of chunks. Texts that are
    no files follow, by their ids.
    """
    from gritlite.rag import maintenance

    documents = maintenance.documents(store, where)
    if not documents and where is None:
        print_notice(f"{store} has no documents: index some with `gritlite index`")
    if as_json:
        for document in documents:
            click.echo(json.dumps(to_json(document), ensure_ascii=False))
        return
    for root, group in groupby(documents, key=lambda document: document.root):
        click.echo("\n".join(listing(root, list(group))))


@command.command()
@_store
@click.argument("documents", metavar="DOCUMENT...", nargs=-1, required=True)
def remove(store: Path, documents: tuple[str, ...]) -> None:
    """Remove documents from a store: files, all of a folder, or texts by their ids.

    The files themselves are not touched, and need not exist. A folder that still exists is
    read again when it is indexed again.
    """
    from gritlite.rag import maintenance

    for removed in maintenance.remove(store, documents):
        count = counted(removed.documents, "document")
        click.echo(f"{store}: {count} removed: {printable(removed.target)}")


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


def to_json(document: "StoredDocument") -> dict[str, Any]:
    """A document as a JSON object; times are ISO 8601, null where there is no such date."""
    return {
        "id": document.id,
        "title": document.title,
        "metadata": document.metadata,
        "is_file": document.path is not None,
        "bytes": document.bytes,
        "modified": _iso(document.modified_ns),
        "read": _iso(document.read_ns),
        "chunks": document.chunks,
        "complete": document.complete,
        "gone": document.gone,
    }


def listing(root: Path | None, documents: "Sequence[StoredDocument]") -> list[str]:
    """A root and its documents, or the texts that have none, as lines of a table."""
    count = counted(len(documents), "document")
    total = _kibibytes(sum(document.bytes for document in documents))
    gone = "; it does not exist now" if root is not None and not root.exists() else ""
    cells = [
        (
            f"  {_name(document)}",
            _kibibytes(document.bytes),
            _time(document.modified_ns),
            counted(document.chunks, "chunk"),
            _remark(document),
        )
        for document in documents
    ]
    head = printable(f"{root or 'texts that are no files'}: {count}, {total}{gone}")
    return [head, *columns(cells).splitlines()]


def _name(document: "StoredDocument") -> str:
    """The id of a text, or a file's path below its root."""
    if document.path is None or document.root is None:
        return document.id
    if document.path == document.root:
        return document.root.name
    return str(document.path.relative_to(document.root))


def _kibibytes(count: int) -> str:
    return f"{count / 1024:,.1f} KiB"


def _time(nanoseconds: int) -> str:
    moment = _moment(nanoseconds)
    return "?" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _iso(nanoseconds: int) -> str | None:
    moment = _moment(nanoseconds)
    return None if moment is None else moment.isoformat()


def _moment(nanoseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    except (ValueError, OverflowError, OSError):  # before the year 1, on some file systems
        return None


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
