"""`gritlite search`: the passages of a store that match a query."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import load_model, model_options
from gritlite.cli.shared.passages import reference, to_json
from gritlite.cli.shared.store_options import search_options, store_option
from gritlite.system.wording import printable

if TYPE_CHECKING:
    from gritlite.rag.search import Passage


@click.command()
@click.argument("query")
@store_option
@model_options
@engine_options()
@search_options(count=5)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each passage.")
def command(
    query: str,
    store_path: Path,
    model: str,
    count: int,
    mode: str,
    rerank: int,
    min_score: float | None,
    instruction: str,
    where: dict[str, Any] | None,
    as_json: bool,
    **running: Any,
) -> None:
    """Show the passages of a store that match a query."""
    from gritlite.cli.shared.opening import opened_store

    with (
        load_model(model, **running) as loaded,
        opened_store(store_path, loaded, for_answers=False) as store,
    ):
        passages = store.search(
            query,
            count,
            mode=mode,  # type: ignore[arg-type]
            rerank=rerank,
            instruction=instruction,
            min_score=min_score or 0.0,
            where=where,
        )
    if not passages:
        enough = f" with a score of {min_score:g} or more" if min_score else ""
        print_notice(f"nothing found in {store_path}{enough}")
    for number, passage in enumerate(passages, 1):
        if as_json:
            click.echo(json.dumps(to_json(passage), ensure_ascii=False))
        else:
            click.echo(to_text(number, passage))


def to_text(number: int, passage: "Passage") -> str:
    """A numbered passage with its score as a paragraph for people."""
    lines = "\n".join(f"   {printable(line)}" for line in passage.text.splitlines())
    return f"{number}. {reference(passage)}  score {passage.score:.2f}\n{lines}\n"
