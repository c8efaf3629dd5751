"""`gritlite index`: documents in, a store that can be searched out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.options import byte_count, load, model_options
from gritlite.cli.shared.stores import store_option
from gritlite.cli.shared.tables import size

if TYPE_CHECKING:
    from gritlite.rag.indexing import Changes
    from gritlite.rag.store import Plan, Update

FORMS = ("float32", "int8", "binary")


@click.command()
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@store_option
@model_options
@click.option(
    "--vectors",
    type=click.Choice(FORMS),
    help="How a new store keeps vectors: exactly (default), in a quarter of the size, or so with "
    "single bits in front that are searched faster.",
)
@click.option(
    "--chunk-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens of a chunk in a new store; 256 by default.",
)
@click.option(
    "--states",
    type=click.Choice(("none", "f16", "q8_0", "q4_0")),
    help="The numbers in which a new store keeps each chunk's key-value state, from the pass that "
    "embeds it; none by default.",
)
@click.option(
    "--states-budget",
    callback=byte_count,
    metavar="SIZE",
    help="Most bytes of states in a new store, as 2GiB; any number by default.",
)
def command(
    paths: tuple[Path, ...],
    store_path: Path,
    model: str,
    threads: int | None,
    gpu_layers: int | str,
    verbose: bool,
    vectors: str | None,
    chunk_tokens: int | None,
    states: str | None,
    states_budget: int | None,
) -> None:
    """Read documents into a store that can be searched.

    They are cut into chunks, which the store keeps with their vectors. PATH is a file,
    or a folder that is looked through at any depth without what is hidden: text,
    Markdown, HTML, PDF and DOCX. Run again, the command reads only what changed,
    forgets what is gone from the folders, and goes on where a run was stopped.
    """
    from gritlite.cli.shared.answers import tell
    from gritlite.cli.shared.progress import bar, show
    from gritlite.rag.store import Store

    with (
        load(model, verbose=verbose, threads=threads, gpu_layers=gpu_layers) as loaded,
        Store.open(
            store_path,
            loaded,
            vectors=vectors,  # type: ignore[arg-type]
            chunk_tokens=chunk_tokens,
            states=states,  # type: ignore[arg-type]
            states_budget=states_budget,
        ) as store,
    ):
        with bar("reading", unit="file") as shown:
            update = store.scan(*paths, progress=lambda done, total: show(shown, done, total))
        for problem in problems(update):
            tell(problem)
        plan = store.plan()
        if plan.pending.chunks:
            tell(described(plan))
            with bar("embedding", unit="token") as shown:
                store.embed(progress=lambda done, total: show(shown, done, total))
        click.echo(f"{store_path}: {summary(update.changes)}")
    if update.changes.failed:
        sys.exit(2)


def problems(update: "Update") -> list[str]:
    """A line for everything that is not in the store as its owner may think."""
    lines = [f"not read: {failure}" for failure in update.changes.failed]
    lines += [f"no text in {path}" for path in update.changes.empty]
    lines += update.changes.warnings
    if update.skipped:
        kinds = ", ".join(f"{count:,} of {suffix}" for suffix, count in update.skipped.items())
        lines.append(f"files of other kinds were left out: {kinds}")
    return lines


def described(plan: "Plan") -> str:
    """What is about to be done, and how long it may take."""
    minutes, seconds = divmod(round(plan.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        time = f"{hours} h {minutes} min"
    else:
        time = f"{minutes} min" if minutes else f"{max(seconds, 1)} s"
    kept = f", {size(plan.state_bytes)} of states" if plan.state_bytes else ""
    chunks, tokens = plan.pending.chunks, plan.pending.tokens
    return f"embedding {chunks:,} chunks of {tokens:,} tokens: about {time}{kept}"


def summary(changes: "Changes") -> str:
    """What became of the files, in a line."""
    counts = {
        "added": changes.added,
        "changed": changes.changed,
        "unchanged": changes.unchanged,
        "removed": changes.removed,
        "not read": len(changes.failed),
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "no files"
