"""`gritlite eval`: test sets in, a table and a JSON report out."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gritlite.cli.commands.eval_rag import command as rag
from gritlite.cli.shared.options import load, model_options

if TYPE_CHECKING:
    from gritlite.eval.encoder import Encoder
    from gritlite.eval.task import Score, Task
    from gritlite.runtime.model import GritLM

_EMBEDDING = ("sts", "retrieval", "classification", "clustering")
_PASSAGES = ("none", "prompt", "state")


def _test_set(name: str, metavar: str, text: str) -> Callable[..., Any]:
    kind = click.Path(path_type=Path)
    return click.option(name, metavar=metavar, type=kind, multiple=True, help=text)


def _by_task(
    _context: click.Context, _option: click.Parameter, values: Sequence[str]
) -> dict[str, str]:
    chosen = {}
    for value in values:
        task, separator, words = value.partition("=")
        if not separator or task not in _EMBEDDING:
            tasks = ", ".join(_EMBEDDING)
            raise click.BadParameter(f"{value!r}: expected TASK=WORDS with a task of {tasks}")
        chosen[task] = words
    return chosen


@click.group(invoke_without_command=True)
@model_options
@_test_set("--sts", "FILE", "Pairs with scores, tab-separated as the STS Benchmark: Spearman.")
@_test_set(
    "--retrieval", "PATH", "SQuAD JSON, or a folder of BEIR or Cranfield: nDCG@10 and recall."
)
@_test_set(
    "--classification", "FOLDER", "train.csv and test.csv with columns text,category: accuracy."
)
@_test_set("--clustering", "FILE", "CSV with columns text,category: v-measure.")
@_test_set("--perplexity", "FILE", "A text: perplexity, as llama.cpp counts it.")
@_test_set("--choice", "FILE", "JSON Lines of questions with choices: accuracy by likelihood.")
@_test_set("--exact-match", "FILE", "SQuAD JSON: exact match and F1 of greedy answers.")
@click.option(
    "--passages",
    type=click.Choice(_PASSAGES),
    multiple=True,
    default=_PASSAGES,
    help="How --exact-match gives the passage: not, in the prompt, or as the state of its "
    "embedding pass; all three by default.",
)
@click.option(
    "--instruction",
    "instructions",
    metavar="TASK=WORDS",
    multiple=True,
    callback=_by_task,
    help="What the texts of a task (in retrieval: the queries) are embedded for.",
)
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens of an embedded text; by default as many as one pass can hold.",
)
@click.option("--truncate", is_flag=True, help="Cut longer texts; the table says how many.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Measure on N items of each set, spread evenly.",
)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Report to write.")
@click.option("--force", is_flag=True, help="Replace the report if it exists.")
@click.option(
    "--compare", type=click.Path(path_type=Path), help="Report to show beside, with the change."
)
@click.pass_context
def command(
    context: click.Context,
    /,
    passages: tuple[str, ...],
    instructions: dict[str, str],
    max_length: int | None,
    truncate: bool,
    limit: int | None,
    output: Path | None,
    force: bool,
    compare: Path | None,
    **choices: Any,
) -> None:
    """Measure a model on local test sets.

    Each option that names a test set can be given several times. All sets are read
    before the first is measured; the table is printed as it grows, a row a measure.
    """
    if context.invoked_subcommand is not None:
        _check_no_options(context)
        return
    from gritlite.cli.shared.scores import ScoreTable
    from gritlite.eval.encoder import GritEncoder
    from gritlite.eval.report import (
        EvaluationReport,
        check_names,
        model_file,
        read_report,
        versions,
        write_report,
    )
    from gritlite.system.files import check_output

    if output is not None:
        check_output(output, force=force)
    reference = read_report(compare) if compare is not None else None
    embedding = list(_embedding_tasks(choices, instructions, limit))
    generation = list(_generation_tasks(choices, passages, limit))
    names = [task.name for task in embedding] + [task.name for task in generation]
    if not names:
        raise click.UsageError("no test set: name one, as with --sts")
    check_names(names)

    table = ScoreTable(names, reference)
    scores: list[Score] = []
    seconds: dict[str, float] = {}
    with load(**choices) as model:
        encoder = GritEncoder(model, max_length=max_length, truncate=truncate)
        runs = [partial(task.run, encoder) for task in embedding]
        runs += [partial(task.run, model) for task in generation]
        click.echo(table.head())
        for name, run in zip(names, runs, strict=True):
            found, seconds[name] = _timed(name, run)
            click.echo(table.rows(found))
            scores += found
    if output is not None:
        settings = {
            "instructions": instructions,
            "max_length": max_length,
            "truncate": truncate,
            "limit": limit,
        }
        report = EvaluationReport(
            model_file(model.path), versions(), settings, tuple(scores), seconds
        )
        write_report(report, output, force=force)


command.add_command(rag, "rag")


def _check_no_options(context: click.Context) -> None:
    """Raise for options before a command of the group: they would say nothing to it."""
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"put options behind {context.invoked_subcommand}")


def _embedding_tasks(
    choices: dict[str, Any], instructions: Mapping[str, str], limit: int | None
) -> Iterator["Task[Encoder]"]:
    """Take the test sets out of the choices, and read them."""
    from gritlite.eval.classification import Classification
    from gritlite.eval.clustering import Clustering
    from gritlite.eval.retrieval import Retrieval
    from gritlite.eval.sts import STS

    makers: dict[str, Callable[..., Task[Encoder]]] = {
        "sts": STS,
        "retrieval": Retrieval,
        "classification": Classification,
        "clustering": Clustering,
    }
    for name, make in makers.items():
        for path in choices.pop(name):
            yield make(path, instruction=instructions.get(name, ""), limit=limit)


def _generation_tasks(
    choices: dict[str, Any], passages: Sequence[str], limit: int | None
) -> Iterator["Task[GritLM]"]:
    """Take the test sets out of the choices, and read them."""
    from gritlite.eval.exact_match import ExactMatch
    from gritlite.eval.multiple_choice import MultipleChoice
    from gritlite.eval.perplexity import Perplexity

    for path in choices.pop("perplexity"):
        yield Perplexity(path, limit=limit)
    for path in choices.pop("choice"):
        yield MultipleChoice(path, limit=limit)
    for path in choices.pop("exact_match"):
        for way in passages:
            yield ExactMatch(path, passages=way, limit=limit)  # type: ignore[arg-type]


def _timed(name: str, run: Callable[..., list["Score"]]) -> tuple[list["Score"], float]:
    """Run a task under a bar; its scores and the seconds it took."""
    from gritlite.cli.shared.progress import bar, show

    with bar(name, unit="item") as shown:
        start = time.perf_counter()
        return run(partial(show, shown)), round(time.perf_counter() - start, 3)
