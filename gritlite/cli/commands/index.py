"""`gritlite index`: a searchable store from documents."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.advice import advice
from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.metadata_options import metadata_option
from gritlite.cli.shared.notices import print_if_untrained, print_notice
from gritlite.cli.shared.options import load_model, model_options, parse_size
from gritlite.cli.shared.store_options import store_option
from gritlite.cli.shared.tables import size
from gritlite.errors import FileError, UsageError
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.rag.contents import Update
    from gritlite.rag.folder import Listing
    from gritlite.rag.metadata import Value
    from gritlite.rag.planning import Plan
    from gritlite.rag.scanning import Changes
    from gritlite.rag.store import Store

_REMOVE = "remove it from the store"  # in the errors that this advice is for
_VECTOR_FORMATS = ("float32", "int8", "binary")


@click.command()
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@store_option
@model_options
@engine_options()
@click.option(
    "--vectors",
    type=Choice(_VECTOR_FORMATS),
    help="Format of the vectors in a new store: float32 is exact (default), int8 takes a quarter "
    "of the size, binary adds single bits to int8 for a faster search.",
)
@click.option(
    "--dimensions",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many numbers of a vector a new store keeps, of the sizes that the model was trained "
    "for; all by default.",
)
@click.option(
    "--chunk-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens of a chunk in a new store; 256 by default.",
)
@click.option(
    "--states",
    type=Choice(("none", "f16", "q8_0", "q4_0")),
    help="Number format in which a new store keeps each chunk's key-value state, taken from the "
    "pass that embeds it; none by default.",
)
@click.option(
    "--states-budget",
    callback=parse_size,
    metavar="SIZE",
    help="Most bytes of states in a new store, such as 2GiB; unlimited by default.",
)
@click.option(
    "--main-text",
    is_flag=True,
    help="Read web pages without navigation, headers and footers in a new store (trafilatura, "
    'the extra "web").',
)
@click.option(
    "--encoding",
    default="",
    metavar="NAME",
    help="Encoding of text files that are not Unicode and do not declare one, such as cp1252; "
    "detected by default.",
)
@metadata_option
def command(
    paths: tuple[Path, ...],
    store_path: Path,
    model: str,
    vectors: str | None,
    dimensions: int | None,
    chunk_tokens: int | None,
    states: str | None,
    states_budget: int | None,
    main_text: bool,
    encoding: str,
    metadata: dict[str, "Value"] | None,
    **running: Any,
) -> None:
    """Read documents into a store that can be searched.

    Documents are cut into chunks, which the store keeps with their vectors. PATH is a
    text, Markdown, HTML, PDF or DOCX file, or a folder to search for such files at any
    depth, except hidden ones. Run the command again to update the store: it reads only
    what changed, removes what is gone from the folders, and resumes an interrupted run.
    """
    from gritlite.cli.shared.opening import gone_roots, store_to_fill
    from gritlite.cli.shared.progress import progress_callback
    from gritlite.rag.document import check_encoding
    from gritlite.rag.folder import list_documents

    check_encoding(encoding)
    if not store_path.exists():
        check_documents(list_documents(paths))
    with (
        load_model(model, prepares=True, **running) as loaded,
        store_to_fill(
            store_path,
            loaded,
            vectors=vectors,
            dimensions=dimensions,
            chunk_tokens=chunk_tokens,
            states=states,
            states_budget=states_budget,
            main_text=main_text or None,
        ) as store,
    ):
        print_if_untrained(model, loaded)
        with (
            progress_callback("reading", unit="file") as progress,
            advice(FileError, f"`gritlite store remove {store_path} PATH`", about=_REMOVE),
        ):
            update = store.scan(*paths, encoding=encoding, metadata=metadata, progress=progress)
        for problem in problems(update):
            print_notice(problem)
        if update.changes.resumed:
            print_notice(resumption(update.changes))
        _embed_pending(store)
        for line in gone_roots(store, store.condition()):
            print_notice(line)
        click.echo(f"{store_path}: {summary(update.changes)}")
    if update.changes.failed:
        sys.exit(2)


def _embed_pending(store: "Store") -> None:
    """Embed the chunks that have no vectors yet."""
    from gritlite.cli.shared.progress import progress_callback

    plan = store.plan()
    if plan.pending.chunks:
        print_notice(describe(plan))
        with progress_callback("embedding", unit="token") as progress:
            store.embed(progress=progress)


def check_documents(listing: "Listing") -> None:
    """Raise UsageError where there is nothing to index, so that no empty store is made."""
    if not listing.files:
        kinds = f"; {_left_out(listing.skipped)}" if listing.skipped else ""
        raise UsageError(f"there are no documents to index{kinds}")


def resumption(changes: "Changes") -> str:
    """What an interrupted run left to do, in one line."""
    indexed = changes.metadata_changed + changes.unchanged
    total = counted(changes.added + changes.changed + indexed, "document")
    already = "was" if indexed == 1 else "were"
    return f"resumed: {indexed:,} of {total} {already} already indexed"


def problems(update: "Update") -> list[str]:
    """A line for each file or part of a file that is not in the store."""
    failed = update.changes.failed
    lines = [f"not read: {failure}" for failure in failed]
    if any(failure.endswith("name its encoding") for failure in failed):
        lines.append("name the encoding of these files by --encoding NAME, such as cp1252")
    lines += [f"no text in {path}" for path in update.changes.empty]
    lines += update.changes.warnings
    if update.skipped:
        lines.append(_left_out(update.skipped))
    return lines


def _left_out(skipped: dict[str, int]) -> str:
    kinds = ", ".join(f"{count:,} of {suffix}" for suffix, count in skipped.items())
    return f"files of other kinds were left out: {kinds}"


def describe(plan: "Plan") -> str:
    """What will be embedded, and how long it may take."""
    minutes, seconds = divmod(round(plan.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        time = f"{hours} h {minutes} min"
    else:
        time = f"{minutes} min" if minutes else f"{max(seconds, 1)} s"
    states = f", {size(plan.state_bytes)} of states" if plan.state_bytes else ""
    chunks, tokens = counted(plan.pending.chunks, "chunk"), counted(plan.pending.tokens, "token")
    return f"embedding {chunks} of {tokens}: about {time}{states}"


def summary(changes: "Changes") -> str:
    """How many documents were added, changed and so on, in one line."""
    counts = {
        "added": changes.added,
        "changed": changes.changed,
        "with changed metadata": changes.metadata_changed,
        "unchanged": changes.unchanged,
        "removed": changes.removed,
        "not read": len(changes.failed),
    }
    told = [(count, what) for what, count in counts.items() if count]
    if not told:
        return "no documents"
    (first, what), *others = told
    return ", ".join(
        [f"{counted(first, 'document')} {what}", *(f"{count:,} {what}" for count, what in others)]
    )
