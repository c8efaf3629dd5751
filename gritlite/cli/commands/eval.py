"""`gritlite eval`: a table and a JSON report of a model's scores on test sets."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gritlite.cli.commands.eval_rag import command as rag
from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.options import force_option, load_model, model_options

if TYPE_CHECKING:
    from gritlite.cli.commands.eval_table import ScoreTable
    from gritlite.eval.encoder import Encoder
    from gritlite.eval.task import Score, Task
    from gritlite.runtime.model import GritLM

_Run = Callable[[Callable[[int, int], None]], list["Score"]]
_EMBEDDING = ("sts", "retrieval", "classification", "clustering")
_PASSAGES = ("none", "prompt", "state")


def _test_set(name: str, metavar: str, text: str) -> Callable[..., Any]:
    kind = click.Path(path_type=Path)
    return click.option(name, metavar=metavar, type=kind, multiple=True, help=text)


def _parse_instructions(
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
@engine_options()
@_test_set("--sts", "FILE", "Tab-separated pairs with scores, like the STS Benchmark: Spearman.")
@_test_set(
    "--retrieval", "PATH", "SQuAD JSON, or a folder of BEIR or Cranfield: nDCG@10 and recall."
)
@_test_set(
    "--classification", "FOLDER", "train.csv and test.csv with columns text,category: accuracy."
)
@_test_set("--clustering", "FILE", "CSV with columns text,category: v-measure.")
@_test_set("--perplexity", "FILE", "Text file: perplexity, computed as in llama.cpp.")
@_test_set("--choice", "FILE", "JSON Lines of multiple-choice questions: accuracy by likelihood.")
@_test_set("--exact-match", "FILE", "SQuAD JSON or JSON Lines: exact match, F1 of greedy answers.")
@click.option(
    "--passages",
    type=Choice(_PASSAGES),
    multiple=True,
    default=_PASSAGES,
    help="How --exact-match gives the passage: not at all, in the prompt, or as the state of its "
    "embedding pass; all three by default.",
)
@click.option(
    "--instruction",
    "instructions",
    metavar="TASK=WORDS",
    multiple=True,
    callback=_parse_instructions,
    help="What the texts of a task are embedded for (in retrieval, the queries).",
)
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens of an embedded text; by default as many as fit into one pass.",
)
@click.option("--truncate", is_flag=True, help="Cut longer texts; the table says how many.")
@click.option(
    "--dimensions",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many numbers of each vector are used, of the sizes that the model was trained for; "
    "all by default.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use only N items of each set, evenly spaced.",
)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Report to write.")
@force_option("Replace the report if it exists.")
@click.option("--compare", type=click.Path(path_type=Path), help="Earlier report to compare with.")
@click.pass_context
def command(
    context: click.Context,
    /,
    passages: tuple[str, ...],
    instructions: dict[str, str],
    max_length: int | None,
    truncate: bool,
    dimensions: int | None,
    limit: int | None,
    output: Path | None,
    force: bool,
    compare: Path | None,
    **choices: Any,
) -> None:
    """Evaluate a model on local test sets.

    Every option that names a test set can be repeated. All sets are read before the
    first is used. The table has a row for each measure, printed as soon as it is known.
    """
    if context.invoked_subcommand is not None:
        _refuse_group_options(context)
        return
    from gritlite.cli.commands.eval_table import ScoreTable
    from gritlite.eval.encoder import GritEncoder
    from gritlite.eval.report import check_names, read_report
    from gritlite.system.files import check_output

    if output is not None:
        check_output(output, force=force)
    reference = read_report(compare) if compare is not None else None
    embedding = list(_embedding_tasks(choices, instructions, limit))
    generation = list(_generation_tasks(choices, passages, limit))
    names = [task.name for task in embedding] + [task.name for task in generation]
    if not names:
        raise click.UsageError("no test set: name one, for example with --sts")
    check_names(names)
    with load_model(**choices) as model:
        encoder = GritEncoder(
            model, max_length=max_length, truncate=truncate, dimensions=dimensions
        )
        runs: dict[str, _Run] = {task.name: partial(task.run, encoder) for task in embedding}
        runs |= {task.name: partial(task.run, model) for task in generation}
        scores, seconds = _run_tasks(runs, ScoreTable(names, reference))
    if output is not None:
        settings = {
            "instructions": instructions,
            "max_length": max_length,
            "truncate": truncate,
            "dimensions": dimensions,
            "limit": limit,
        }
        _write_report(output, model.path, settings, scores, seconds, force=force)


command.add_command(rag, "rag")


def _refuse_group_options(context: click.Context) -> None:
    """Raise UsageError for options before a subcommand, which would have no effect."""
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"put options after {context.invoked_subcommand}")


def _embedding_tasks(
    choices: dict[str, Any], instructions: Mapping[str, str], limit: int | None
) -> Iterator["Task[Encoder]"]:
    """Remove the test sets from the choices, and read them."""
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
    """Remove the test sets from the choices, and read them."""
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


def _run_tasks(
    runs: Mapping[str, _Run], table: "ScoreTable"
) -> tuple[list["Score"], dict[str, float]]:
    """Run the tasks in order and print each one's rows; their scores, and seconds by task."""
    from gritlite.cli.shared.progress import progress_callback

    scores: list[Score] = []
    seconds: dict[str, float] = {}
    click.echo(table.header())
    for name, run in runs.items():
        with progress_callback(name, unit="item") as on_progress:
            start = time.perf_counter()
            found = run(on_progress)
            seconds[name] = round(time.perf_counter() - start, 3)
        click.echo(table.rows(found))
        scores += found
    return scores, seconds


def _write_report(
    output: Path,
    model: Path,
    settings: Mapping[str, Any],
    scores: Sequence["Score"],
    seconds: Mapping[str, float],
    *,
    force: bool,
) -> None:
    from gritlite.eval.report import EvaluationReport, model_file, versions, write_report

    report = EvaluationReport(model_file(model), versions(), settings, tuple(scores), seconds)
    write_report(report, output, force=force)
