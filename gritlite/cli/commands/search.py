"""`gritlite search`: the passages of a store that suit a query."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.options import load, model_options
from gritlite.cli.shared.stores import facts, named, search_options, store_option

if TYPE_CHECKING:
    from gritlite.rag.search import Passage


@click.command()
@click.argument("query")
@store_option
@model_options
@search_options(count=5)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each passage.")
def command(
    query: str,
    store_path: Path,
    model: str,
    threads: int | None,
    gpu_layers: int | str,
    verbose: bool,
    count: int,
    mode: str,
    rerank: int,
    instruction: str,
    as_json: bool,
) -> None:
    """Show the passages of a store that suit a query."""
    from gritlite.cli.shared.answers import tell
    from gritlite.rag.store import Store

    with (
        load(model, verbose=verbose, threads=threads, gpu_layers=gpu_layers) as loaded,
        Store.open(store_path, loaded, create=False) as store,
    ):
        passages = store.search(
            query,
            count,
            mode=mode,  # type: ignore[arg-type]
            rerank=rerank,
            instruction=instruction,
        )
    if not passages:
        tell(f"nothing found in {store_path}")
    for number, passage in enumerate(passages, 1):
        if as_json:
            click.echo(json.dumps(facts(passage), ensure_ascii=False))
        else:
            click.echo(to_text(number, passage))


def to_text(number: int, passage: "Passage") -> str:
    """A passage as a paragraph for people."""
    from gritlite.cli.shared.tables import printable

    lines = "\n".join(f"   {printable(line)}" for line in passage.text.splitlines())
    return f"{number}. {named(passage)}\n{lines}\n"
