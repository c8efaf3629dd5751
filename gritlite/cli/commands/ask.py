"""`gritlite ask`: an answer to a question from the passages of a store."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.advice import context_advice
from gritlite.cli.shared.options import (
    context_option,
    load_model,
    model_options,
    parse_token_counts,
)
from gritlite.cli.shared.passages import reference_list, to_json
from gritlite.cli.shared.store_options import search_options, store_option
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
    help="The layout: what the model reads, and what comes from stored states (docs/rag.md). "
    "auto picks exact or document-then-query, whichever should be faster.",
)
@click.option(
    "--recompute",
    callback=parse_token_counts,
    default="0",
    show_default=True,
    metavar="N|all",
    help="When states are joined: number of tokens to recompute at the start of each state "
    "after the first.",
)
@context_option
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

    After the answer come the sources of its passages.
    """
    from gritlite.cli.shared.answers import print_answer, print_cut_notice
    from gritlite.cli.shared.interrupts import cancel_on_interrupt
    from gritlite.cli.shared.opening import opened_store

    given = {name: value for name, value in sampling.items() if value is not None}
    with (
        load_model(
            model,
            verbose=verbose,
            threads=threads,
            gpu_layers=gpu_layers,
            context_length=context_length,
        ) as loaded,
        context_advice(loaded),
        opened_store(store_path, loaded, for_answers=True) as store,
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
            click.echo(json.dumps(answer_to_json(answer), ensure_ascii=False))
        else:
            with cancel_on_interrupt(answer):
                print_answer(answer, loaded)
            click.echo(reference_list(answer.passages))
        print_cut_notice(answer, loaded)


def answer_to_json(answer: "StoreAnswer") -> dict[str, Any]:
    """An answer, its passages and its times in seconds as a JSON object."""
    return {
        "answer": answer.text,
        "layout": answer.layout,
        "passages": [to_json(passage) for passage in answer.passages],
        "seconds": asdict(answer.timings),
        "states_loaded": answer.states_loaded,
        "states_computed": answer.states_computed,
    }
