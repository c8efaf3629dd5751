"""`gritlite eval rag`: the paper's table of layouts, one in each row."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import (
    ALL_TOKENS,
    force_option,
    load_model,
    model_options,
    parse_token_counts,
)
from gritlite.rag.layouts import LAYOUTS, Layout
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.eval.latency import Latency, Sample
    from gritlite.eval.layouts import Outcome, Variant
    from gritlite.eval.squad import Question
    from gritlite.eval.task import Score
    from gritlite.rag.state_quantization import StateType
    from gritlite.runtime.model import GritLM

_STATE_TYPES = ("f16", "q8_0", "q4_0")


@click.command()
@click.argument("questions", type=click.Path(path_type=Path))
@model_options
@engine_options()
@click.option(
    "--cache",
    "layouts",
    type=Choice(LAYOUTS),
    multiple=True,
    default=LAYOUTS,
    help="Layouts to measure; all by default.",
)
@click.option(
    "--states",
    "state_types",
    type=Choice(_STATE_TYPES),
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
    help="Number of passages for an answer.",
)
@click.option(
    "--recompute",
    callback=parse_token_counts,
    default=("0",),
    show_default=True,
    multiple=True,
    metavar="N|all",
    help="Number of tokens to recompute at the start of each state after the first.",
)
@click.option(
    "--long",
    type=click.IntRange(min=32),
    metavar="N",
    help="Also time a document and a query of N tokens.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Ask only N questions, evenly spaced."
)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Report to write.")
@force_option("Replace the report if it exists.")
def command(
    questions: Path,
    layouts: tuple[Layout, ...],
    state_types: tuple["StateType", ...],
    passages: int,
    recompute: tuple[int, ...],
    long: int | None,
    limit: int | None,
    output: Path | None,
    force: bool,
    **choices: Any,
) -> None:
    """Compare the layouts of `gritlite ask`, as in the paper's table.

    QUESTIONS is a file in SQuAD's format, or JSON Lines with passage, question and
    answer. The passages are indexed, and each question is asked in every layout.
    """
    from gritlite.cli.shared.tables import columns
    from gritlite.eval import latency
    from gritlite.eval.layouts import variants
    from gritlite.eval.questions import answerable, read_questions
    from gritlite.eval.report import EvaluationReport, model_file, versions, write_report
    from gritlite.eval.task import spread
    from gritlite.runtime.generating_model import DEFAULT_CONTEXT
    from gritlite.system.files import check_output

    if output is not None:
        check_output(output, force=force)
    read = read_questions(questions)
    answered = answerable(read, questions)
    if len(answered) < len(read):
        left_out = counted(len(read) - len(answered), "question")
        print_notice(f"{left_out} without an answer left out")
    chosen = list(variants(layouts, state_types, recompute, passages))
    if long is not None:
        choices["context_length"] = max(long + latency.ROOM, DEFAULT_CONTEXT)
    with load_model(**choices) as model:
        samples = {}
        if long is not None:
            words = [word for question in answered for word in question.paragraph.split()]
            samples = latency.samples(model, words, long)
        found = _ask(model, answered, spread(answered, limit), chosen, passages)
        timed = {name: _time(model, name, sample, chosen) for name, sample in samples.items()}
    click.echo(columns(table(found, timed)))
    if output is not None:
        settings = {"passages": passages, "long": long, "limit": limit}
        scores = tuple(
            score for outcome in found for score in to_scores(questions.name, outcome, timed)
        )
        report = EvaluationReport(model_file(model.path), versions(), settings, scores, {})
        write_report(report, output, force=force)


def _ask(
    model: "GritLM",
    every: Sequence["Question"],
    asked: Sequence["Question"],
    chosen: Sequence["Variant"],
    passages: int,
) -> list["Outcome"]:
    """Index the passages of every question and ask the chosen ones, with progress bars."""
    from gritlite.cli.shared.progress import advance_to, progress_bar, progress_callback
    from gritlite.eval.layouts import indexed, measure

    paragraphs = [question.paragraph for question in every]
    with (
        progress_bar("indexing", unit="token") as bar,
        indexed(model, paragraphs, chosen, partial(advance_to, bar)) as stores,
    ):
        bar.close()
        with progress_callback("asking", unit="question") as progress:
            return measure(stores, asked, chosen, passages=passages, progress=progress)


def _time(
    model: "GritLM", name: str, sample: "Sample", chosen: Sequence["Variant"]
) -> dict["Variant", "Latency"]:
    """Time a sample, with a progress bar."""
    from gritlite.cli.shared.progress import progress_callback
    from gritlite.eval import latency

    with progress_callback(f"timing a long {name}", unit="answer") as progress:
        return latency.measure(model, sample, chosen, progress)


def table(
    found: Sequence["Outcome"], timed: Mapping[str, Mapping["Variant", "Latency"]]
) -> list[list[str]]:
    """The header and the lines of the table."""
    header = ["layout", "states", "recomputed", "exact match", "match", "F1", "TTFT ms", "total ms"]
    for name in timed:
        header += [f"{name}: TTFT", "total"]
    lines = [[*header, "kB a state", "states/s"]]
    for each in found:
        variant, speed = each.variant, each.states_a_second
        line = [variant.layout, variant.state_type or "", _recomputed(variant)]
        line += [f"{value:.3f}" for value in (each.exact_match, each.match, each.f1)]
        seconds = [each.ttft, each.total]
        for latencies in timed.values():
            seconds += [latencies[variant].ttft, latencies[variant].total]
        line += [f"{value * 1e3:,.0f}" for value in seconds]
        line += [f"{each.state_bytes / 1e3:,.0f}", "" if speed is None else f"{speed:,.0f}"]
        lines.append(line)
    return lines


def _recomputed(variant: "Variant") -> str:
    """The number of tokens that a variant recomputes, "" if it uses no states."""
    if variant.state_type is None:
        return ""
    return "all" if variant.recompute == ALL_TOKENS else str(variant.recompute)


def to_scores(
    name: str, outcome: "Outcome", timed: Mapping[str, Mapping["Variant", "Latency"]]
) -> list["Score"]:
    """The line of a variant as scores for a report, with times in seconds."""
    from gritlite.eval.task import Score

    variant = outcome.variant
    names = (variant.layout, variant.state_type or "", _recomputed(variant))
    task = f"rag {name}: {', '.join(filter(None, names))}"
    values = {
        "exact match": outcome.exact_match,
        "match": outcome.match,
        "F1": outcome.f1,
        "TTFT": outcome.ttft,
        "total": outcome.total,
        "bytes a state": outcome.state_bytes,
    }
    if outcome.states_a_second is not None:
        values["states a second"] = outcome.states_a_second
    for sample, latencies in timed.items():
        latency = latencies[variant]
        values |= {f"long {sample}, TTFT": latency.ttft, f"long {sample}, total": latency.total}
    return [Score(task, measure, value, outcome.questions) for measure, value in values.items()]
