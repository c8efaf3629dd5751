"""`gritlite compare`: what quantization costs in both tasks, with a verdict."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import (
    complete_model,
    force_option,
    load_model,
    running_options,
    texts_option,
)
from gritlite.cli.shared.pulling import locate_or_pull
from gritlite.cli.shared.tables import columns

if TYPE_CHECKING:
    from gritlite.eval.fidelity.results import Comparison
    from gritlite.runtime.model import GritLM

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("reference", shell_complete=complete_model)
@click.argument(
    "candidates", metavar="CANDIDATE...", nargs=-1, required=True, shell_complete=complete_model
)
@texts_option("Text or JSON Lines to compare on, repeatable; gritlite's own by default.")
@click.option(
    "--chunks", type=click.IntRange(min=1), help="Number of text chunks to predict; all by default."
)
@click.option("--sts", multiple=True, type=_PATH, metavar="FILE", help="STS Benchmark file.")
@click.option(
    "--retrieval", multiple=True, type=_PATH, metavar="PATH", help="SQuAD JSON, BEIR or Cranfield."
)
@click.option("--json", "json_file", type=_PATH, metavar="FILE", help="Write all figures to FILE.")
@click.option("--html", "html_file", type=_PATH, metavar="FILE", help="Write a page with plots.")
@click.option(
    "--require",
    metavar="NAME=BOUND,...",
    default="",
    help="Exit with 1 unless every candidate is within the bounds, as in cosine=0.99,kl=0.05.",
)
@force_option("Replace outputs that exist.")
@running_options
@engine_options("llama")
def command(
    reference: str,
    candidates: tuple[str, ...],
    files: tuple[Path, ...],
    chunks: int | None,
    sts: tuple[Path, ...],
    retrieval: tuple[Path, ...],
    json_file: Path | None,
    html_file: Path | None,
    require: str,
    force: bool,
    **options: Any,
) -> None:
    """Compare quantized files with a reference in both tasks.

    REFERENCE is the file with the highest precision available, and each CANDIDATE is
    another file of the same model. The files are loaded one at a time. The table shows
    how far vectors and probabilities move, how much memory each file needs, and a
    verdict.
    """
    from gritlite.eval.fidelity.html_report import write_html
    from gritlite.eval.fidelity.results import requirements, write_json
    from gritlite.system.files import check_output

    required = requirements(require) if require else ()
    for path in (json_file, html_file):
        if path is not None:
            check_output(path, force=force)
    measure = _task_scores(sts, retrieval)
    comparison = _compare(reference, candidates, files, chunks, measure, options)
    if json_file is not None:
        write_json(comparison, json_file, force=force)
    if html_file is not None:
        write_html(comparison, html_file, force=force)
    click.echo(_table(comparison))
    broken = [bound.broken_by(row) for row in comparison.candidates for bound in required]
    for fault in filter(None, broken):
        print_notice(fault)
    if any(broken):
        raise SystemExit(1)


def _compare(
    reference: str,
    candidates: Sequence[str],
    files: Sequence[Path],
    chunks: int | None,
    scores: "Callable[[GritLM], Mapping[str, float]]",
    options: Mapping[str, Any],
) -> "Comparison":
    """Compare the files, with a progress bar for each."""
    from gritlite.cli.shared.progress import progress_bar
    from gritlite.eval.fidelity.comparison import compare
    from gritlite.modelfile.check import check_model
    from gritlite.modelfile.header import read_header
    from gritlite.runtime.sample_texts import COMPARISON_TEXTS

    paths = [locate_or_pull(name) for name in (reference, *candidates)]
    for path in paths:  # a bad file is reported before hours of work
        check_model(read_header(path))

    with ExitStack() as bars:

        def begin(name: str, tokens: int) -> Callable[[int], object]:
            bars.close()
            bar = bars.enter_context(progress_bar(name, unit="token", total=tokens))
            return bar.update  # type: ignore[no-any-return]

        return compare(
            paths[0],
            paths[1:],
            files or COMPARISON_TEXTS,
            load=lambda path: load_model(str(path), **options),
            scores=scores,
            begin=begin,
            chunks=chunks,
        )


def _task_scores(
    sts: Sequence[Path], retrieval: Sequence[Path]
) -> "Callable[[GritLM], Mapping[str, float]]":
    """A function that measures a model on test sets. The sets are read now."""
    from gritlite.eval.encoder import GritEncoder
    from gritlite.eval.retrieval import Retrieval
    from gritlite.eval.sts import STS

    tasks: list[STS | Retrieval] = [*map(STS, sts), *map(Retrieval, retrieval)]

    def measure(model: "GritLM") -> Mapping[str, float]:
        encoder = GritEncoder(model, truncate=True)
        scores = [score for task in tasks for score in task.run(encoder, lambda *_: None)]
        return {f"{score.task}: {score.measure}": score.value for score in scores}

    return measure


def _table(comparison: "Comparison") -> str:
    """A table with a column for each file and a row for each measure."""
    from gritlite.eval.fidelity.results import MEASURES

    rows, candidates = comparison.rows, comparison.candidates
    lines = [["", *(row.file for row in rows)]]
    lines += [[measure.label, *map(measure.text, rows)] for measure in MEASURES]
    for task, whole in comparison.reference.scores.items():
        scores = (row.scores[task] for row in candidates)
        lines.append([task, f"{whole:.4f}", *(f"{x:.4f} ({x - whole:+.4f})" for x in scores)])
    lines.append(["embedding", "reference", *(row.embed_verdict for row in candidates)])
    lines.append(["generation", "reference", *(row.generate_verdict for row in candidates)])
    return columns(lines)
