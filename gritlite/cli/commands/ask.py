"""`gritlite ask`: a question, the passages of a store that suit it, and an answer from them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.options import load, model_options, tokens_or_all
from gritlite.cli.shared.stores import cited, facts, search_options, store_option
from gritlite.rag.layouts import AUTO, LAYOUTS, LayoutChoice

if TYPE_CHECKING:
    from gritlite.rag.answer import StoreAnswer


@click.command()
@click.argument("question")
@store_option
@model_options
@search_options(count=3)
@click.option(
    "--cache",
    "layout",
    type=click.Choice((*LAYOUTS, AUTO)),
    default="document-then-query",
    show_default=True,
    help="What is read and what comes from stored states (docs/rag.md); auto takes exact or "
    "document-then-query, whichever is expected to be faster.",
)
@click.option(
    "--recompute",
    callback=tokens_or_all,
    default="0",
    show_default=True,
    metavar="N|all",
    help="Where states are joined: tokens at the beginning of each but the first that are read "
    "again behind the others.",
)
@click.option("--context-length", type=click.IntRange(min=1), help="Tokens that an answer can use.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Most tokens of the answer.")
@click.option(
    "--temperature",
    type=float,
    default=0.0,
    show_default=True,
    help="Randomness; 0 always takes the likeliest token.",
)
@click.option("--seed", type=int, help="Makes a random answer repeatable.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print answer, passages and times as one JSON line."
)
def command(
    question: str,
    store_path: Path,
    model: str,
    threads: int | None,
    gpu_layers: int | str,
    verbose: bool,
    count: int,
    mode: str,
    rerank: int,
    instruction: str,
    layout: LayoutChoice,
    recompute: int,
    context_length: int | None,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Answer a question from the passages of a store.

    The answer is followed by where its passages come from.
    """
    from gritlite.cli.shared.answers import interrupt_cancels, say_how_it_ended, show
    from gritlite.rag.store import Store

    given = {name: value for name, value in sampling.items() if value is not None}
    with (
        load(
            model,
            verbose=verbose,
            threads=threads,
            gpu_layers=gpu_layers,
            context_length=context_length,
        ) as loaded,
        Store.open(store_path, loaded, create=False) as store,
        store.ask(
            question,
            count,
            layout=layout,
            recompute=recompute,
            mode=mode,  # type: ignore[arg-type]
            rerank=rerank,
            instruction=instruction,
            stream=True,
            **given,
        ) as answer,
    ):
        if as_json:
            answer.read()
            click.echo(to_json(answer))
        else:
            with interrupt_cancels(answer):
                show(answer)
            click.echo(cited(answer.passages))
        say_how_it_ended(answer, loaded.context_length)


def to_json(answer: "StoreAnswer") -> str:
    """An answer, its passages and its times as a JSON line."""
    return json.dumps(
        {
            "answer": answer.text,
            "layout": answer.layout,
            "passages": [facts(passage) for passage in answer.passages],
            "seconds": asdict(answer.timings),
            "states_loaded": answer.states_loaded,
            "states_computed": answer.states_computed,
        },
        ensure_ascii=False,
    )
