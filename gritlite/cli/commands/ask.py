"""`gritlite ask`: an answer to a question from the passages of a store."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.advice import context_advice
from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import (
    RUNNING,
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
@engine_options()
@search_options(
    count=3, min_score=" By default what was measured for the default model, otherwise 0."
)
@click.option(
    "--cache",
    "layout",
    type=Choice((*LAYOUTS, AUTO)),
    default="document-then-query",
    show_default=True,
    help="The layout: what the model reads, and what comes from stored states (docs/rag.md). "
    "auto answers from the first passage's state and the text of the others, or from text alone, "
    "whichever should be faster.",
)
@click.option(
    "--recompute",
    callback=parse_token_counts,
    metavar="N|all",
    help="When states are joined: number of tokens to recompute at the start of each state "
    "after the first. 0 by default; with --cache auto, states are joined only if this is given.",
)
@context_option
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    help="Most tokens of the answer.  [default: 512]",
)
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
    count: int,
    mode: str,
    rerank: int,
    min_score: float | None,
    instruction: str,
    where: dict[str, Any] | None,
    layout: LayoutChoice,
    recompute: int | None,
    context_length: int | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Answer a question from the passages of a store.

    After the answer come the sources of its passages. Where no passage has the least score,
    the answer is that the documents do not tell.
    """
    from gritlite.cli.shared.answers import print_answer, print_cut_notice
    from gritlite.cli.shared.opening import opened_store

    running = {name: choices.pop(name) for name in RUNNING}
    given = {name: value for name, value in choices.items() if value is not None}
    with (
        load_model(model, generates=True, context_length=context_length, **running) as loaded,
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
            min_score=min_score,
            where=where,
            stream=True,
            **given,
        ) as answer,
    ):
        if as_json:
            answer.read()
            click.echo(json.dumps(answer_to_json(answer), ensure_ascii=False))
        else:
            print_answer(answer, loaded)
            print_sources(answer)
        print_cut_notice(answer, loaded)


def print_sources(answer: "StoreAnswer") -> None:
    """Print the sources of an answer, or say why it has none."""
    if answer.passages:
        click.echo(reference_list(answer.passages))
    elif answer.best_score is None:
        print_notice("no passage holds a word of the question")
    else:
        print_notice(
            f"the best passage has a score of {answer.best_score:.2f}, too low to answer from; "
            "--min-score 0 answers from any"
        )


def answer_to_json(answer: "StoreAnswer") -> dict[str, Any]:
    """An answer, its passages and its times in seconds as a JSON object."""
    return {
        "answer": answer.text,
        "layout": answer.layout if answer.passages else None,
        "passages": [to_json(passage) for passage in answer.passages],
        "best_score": answer.best_score,
        "seconds": asdict(answer.timings),
        "states_loaded": answer.states_loaded,
        "states_computed": answer.states_computed,
    }
