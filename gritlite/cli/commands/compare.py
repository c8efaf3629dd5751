"""`gritlite compare`: what quantizing cost, for both tasks, with a verdict."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.options import load, running_options, texts_option
from gritlite.cli.shared.tables import columns

if TYPE_CHECKING:
    from gritlite.eval.fidelity.results import Comparison
    from gritlite.runtime.model import GritLM

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("reference")
@click.argument("candidates", metavar="CANDIDATE...", nargs=-1, required=True)
@texts_option(
    "Text or JSON Lines to compare on, several if given again; gritlite's own by default."
)
@click.option(
    "--chunks", type=click.IntRange(min=1), help="Predict the first so many chunks of text only."
)
@click.option("--sts", multiple=True, type=_PATH, metavar="FILE", help="STS Benchmark file.")
@click.option(
    "--retrieval", multiple=True, type=_PATH, metavar="PATH", help="SQuAD JSON, BEIR or Cranfield."
)
@click.option("--json", "json_file", type=_PATH, metavar="FILE", help="Write all figures there.")
@click.option("--html", "html_file", type=_PATH, metavar="FILE", help="Write a page with plots.")
@click.option(
    "--require",
    metavar="NAME=BOUND,...",
    default="",
    help="Exit with 1 unless every candidate keeps the bounds, as in cosine=0.99,kl=0.05.",
)
@click.option("--force", is_flag=True, help="Replace outputs that exist.")
@running_options
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
    """Compare quantized files with a reference, in both tasks.

    REFERENCE is the file of the highest precision at hand, CANDIDATEs are other files
    of the same model. Each is loaded alone. The table says how far vectors and
    probabilities have moved, what each file needs, and whether that is good enough.
    """
    from gritlite.calibrate.default_texts import COMPARISON_TEXTS
    from gritlite.cli.shared.progress import bar
    from gritlite.eval.fidelity.comparison import compare
    from gritlite.eval.fidelity.html_report import write_html
    from gritlite.eval.fidelity.results import requirements, write_json
    from gritlite.system.files import check_output
    from gritlite.system.locate import locate

    required = requirements(require) if require else ()
    for path in (json_file, html_file):
        if path is not None:
            check_output(path, force=force)
    with ExitStack() as bars:

        def begin(name: str, tokens: int) -> Callable[[int], object]:
            bars.close()
            return bars.enter_context(bar(name, unit="token", total=tokens)).update  # type: ignore[no-any-return]

        comparison = compare(
            locate(reference),
            [locate(candidate) for candidate in candidates],
            files or COMPARISON_TEXTS,
            load=lambda path: load(str(path), **options),
            scores=_labelled(sts, retrieval),
            begin=begin,
            chunks=chunks,
        )
    if json_file is not None:
        write_json(comparison, json_file, force=force)
    if html_file is not None:
        write_html(comparison, html_file, force=force)
    click.echo(_table(comparison))
    broken = [
        fault
        for row in comparison.candidates
        for requirement in required
        if (fault := requirement.broken_by(row))
    ]
    for fault in broken:
        click.echo(f"gritlite: {fault}", err=True)
    if broken:
        raise SystemExit(1)


def _labelled(
    sts: tuple[Path, ...], retrieval: tuple[Path, ...]
) -> "Callable[[GritLM], Mapping[str, float]]":
    """A measurement of the tasks in the files named, which are read now."""
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
    """A column a file, a row a measure."""
    from gritlite.eval.fidelity.results import MEASURES

    rows, candidates = comparison.rows, comparison.candidates
    lines = [["", *(row.file for row in rows)]]
    lines += [[measure.label, *map(measure.text, rows)] for measure in MEASURES]
    for task in comparison.reference.scores:
        whole = comparison.reference.scores[task]
        scores = (row.scores[task] for row in candidates)
        lines.append([task, f"{whole:.4f}", *(f"{x:.4f} ({x - whole:+.4f})" for x in scores)])
    lines.append(["embedding", "reference", *(row.embed_verdict for row in candidates)])
    lines.append(["generation", "reference", *(row.generate_verdict for row in candidates)])
    return columns(lines)
