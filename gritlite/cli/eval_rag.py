"""`gritlite eval rag`: the paper's table, a layout by row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.options import load, model_options, tokens_or_all
from gritlite.rag.layouts import LAYOUTS, Layout

if TYPE_CHECKING:
    from gritlite.eval.latency import Latency
    from gritlite.eval.layouts import Outcome, Variant
    from gritlite.eval.task import Score
    from gritlite.rag.blob import Number

_NUMBERS = ("f16", "q8_0", "q4_0")
_ROOM = 256  # tokens of a context beside the long text: prompt, short text and answer


@click.command()
@click.argument("questions", type=click.Path(path_type=Path))
@model_options
@click.option(
    "--cache",
    "layouts",
    type=click.Choice(LAYOUTS),
    multiple=True,
    default=LAYOUTS,
    help="Layouts to measure; all by default.",
)
@click.option(
    "--states",
    "numbers",
    type=click.Choice(_NUMBERS),
    multiple=True,
    default=("q8_0",),
    show_default=True,
    help="Number formats of the stored states.",
)
@click.option(
    "-k",
    "passages",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many passages an answer is from.",
)
@click.option(
    "--recompute",
    callback=tokens_or_all,
    default=("0",),
    show_default=True,
    multiple=True,
    metavar="N|all",
    help="Tokens at the beginning of each passage but the first that are read again.",
)
@click.option(
    "--long",
    type=click.IntRange(min=32),
    metavar="N",
    help="Also time a document, and a query, of N tokens.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Ask N questions, spread evenly."
)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Report to write.")
@click.option("--force", is_flag=True, help="Replace the report if it exists.")
def command(
    questions: Path,
    layouts: tuple[Layout, ...],
    numbers: tuple["Number", ...],
    passages: int,
    recompute: tuple[int, ...],
    long: int | None,
    limit: int | None,
    output: Path | None,
    force: bool,
    **choices: Any,
) -> None:
    """Measure the layouts of `gritlite ask`: the paper's table.

    QUESTIONS is a file of SQuAD's form, or JSON Lines with passage, question and answer.
    Its passages are indexed, and each question is asked in every layout.
    """
    from gritlite.cli.progress import bar, show
    from gritlite.cli.tables import columns
    from gritlite.eval import latency
    from gritlite.eval.layouts import measure, variants
    from gritlite.eval.questions import read_answerable
    from gritlite.eval.report import Report, subject, versions, write_report
    from gritlite.files import check_output

    if output is not None:
        check_output(output, force=force)
    read = read_answerable(questions)
    chosen = list(variants(layouts, numbers, recompute if passages > 1 else (0,)))
    if long is not None:
        choices["context_length"] = max(long + _ROOM, 4096)
    timed: dict[str, dict[Variant, Latency]] = {}
    with load(**choices) as model:
        with bar(f"asking {questions.name}", unit="question") as shown:
            found = measure(
                model, read, chosen, passages=passages, limit=limit, progress=partial(show, shown)
            )
        if long is not None:
            words = [word for question in read for word in question.paragraph.split()]
            alone = list(dict.fromkeys(replace(variant, recompute=0) for variant in chosen))
            for name, sample in latency.samples(model, words, long).items():
                with bar(f"timing a long {name}", unit="answer") as shown:
                    timed[name] = latency.measure(model, sample, alone, partial(show, shown))
        facts = subject(model.path) if output is not None else None
    click.echo(columns(table(found, timed)))
    if output is not None and facts is not None:
        settings = {"passages": passages, "long": long, "limit": limit}
        scores = tuple(
            score for outcome in found for score in to_scores(questions.name, outcome, timed)
        )
        write_report(Report(facts, versions(), settings, scores, {}), output, force=force)


def table(
    found: Sequence["Outcome"], timed: Mapping[str, Mapping["Variant", "Latency"]]
) -> list[list[str]]:
    """The head and the lines of the table for people."""
    head = ["layout", "states", "recomputed", "exact match", "match", "F1", "TTFT ms", "total ms"]
    for name in timed:
        head += [f"{name}: TTFT", "total"]
    lines = [[*head, "stored MB", "states/s"]]
    for each in found:
        variant, speed = each.variant, each.states_a_second
        line = [variant.layout, variant.numbers or "", _anew(variant)]
        line += [f"{value:.3f}" for value in (each.exact_match, each.match, each.f1)]
        seconds = [each.ttft, each.total]
        for latencies in timed.values():
            latency = latencies[replace(variant, recompute=0)]
            seconds += [latency.ttft, latency.total]
        line += [f"{value * 1e3:,.0f}" for value in seconds]
        line += [f"{each.bytes / 1e6:,.1f}", "" if speed is None else f"{speed:,.0f}"]
        lines.append(line)
    return lines


def _anew(variant: "Variant") -> str:
    from gritlite.rag.layouts import kind_of

    if kind_of(variant.layout) is None:
        return ""
    return "all" if variant.recompute > 2**31 else str(variant.recompute)


def to_scores(
    name: str, outcome: "Outcome", timed: Mapping[str, Mapping["Variant", "Latency"]]
) -> list["Score"]:
    """The line of a variant as scores of a report; times in seconds."""
    from gritlite.eval.task import Score

    variant = outcome.variant
    facts = (variant.layout, variant.numbers or "", _anew(variant))
    task = f"rag {name}: {', '.join(filter(None, facts))}"
    values = {
        "exact match": outcome.exact_match,
        "match": outcome.match,
        "F1": outcome.f1,
        "TTFT": outcome.ttft,
        "total": outcome.total,
        "state bytes": float(outcome.bytes),
    }
    if outcome.states_a_second is not None:
        values["states a second"] = outcome.states_a_second
    for sample, latencies in timed.items():
        latency = latencies[replace(variant, recompute=0)]
        values |= {f"long {sample}, TTFT": latency.ttft, f"long {sample}, total": latency.total}
    return [Score(task, measure, value, outcome.questions) for measure, value in values.items()]
