"""`gritlite quantize`: a smaller GGUF file from a larger one."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.conversion import conversion_options, run_conversion, type_option
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import complete_model, parse_size, texts_option
from gritlite.cli.shared.pulling import locate_or_pull
from gritlite.errors import UsageError

if TYPE_CHECKING:
    from gritlite.calibrate.auto_types import TypeAllocation
    from gritlite.calibrate.sensitivity import Losses


@click.command()
@click.argument("source", metavar="IN", shell_complete=complete_model)
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@type_option("auto")
@click.option(
    "--max-size",
    callback=parse_size,
    metavar="SIZE",
    help="With auto: the largest file size, such as 4.0GiB or 700MB.",
)
@click.option(
    "--max-loss",
    type=click.FloatRange(0, min_open=True),
    help="With auto: the largest loss; up to 1 still counts as good.",
)
@texts_option("With auto: text to measure on, as in `gritlite calibrate`.")
@conversion_options
def command(
    source: str,
    output: Path,
    target: str,
    max_size: int | None,
    max_loss: float | None,
    files: tuple[Path, ...],
    **options: Any,
) -> None:
    """Quantize a GGUF file.

    IN is a file in f32, f16 or bf16, or the name of a pulled model. The tensors
    are byte for byte those that llama.cpp's llama-quantize writes.

    The type auto measures what rounding each tensor costs in both tasks. It then spends
    the bits where they matter most to the two together, within --max-size or --max-loss.
    """
    if target != "auto":
        if max_size is not None or max_loss is not None or files:
            raise UsageError("--max-size, --max-loss and --texts are for the type auto")
        run_conversion(source, output, target, **options)
        return
    _check_auto_options(max_size, max_loss, options["requantize"])
    choice = _choose_types(source, output, max_size, max_loss, files, options)
    print_notice(_losses("measured", choice.losses))
    if choice.baseline is not None:
        baseline = choice.baseline
        print_notice(_losses(baseline.target, baseline.losses))
        if baseline.beats(choice.losses):
            print_notice(f"{baseline.target} of this size loses less in a task")
    run_conversion(source, output, choice.target, types=choice.types, **options)


def _check_auto_options(max_size: int | None, max_loss: float | None, requantize: bool) -> None:
    if (max_size is None) == (max_loss is None):
        raise UsageError("the type auto needs --max-size or --max-loss, and not both")
    if max_loss is not None and not isfinite(max_loss):
        raise UsageError(f"--max-loss is {max_loss}: expected a number, such as 1.0")
    if requantize:
        raise UsageError("--requantize: the type auto takes f32, f16 or bf16 weights only")


def _choose_types(
    source: str,
    output: Path,
    max_size: int | None,
    max_loss: float | None,
    files: tuple[Path, ...],
    options: dict[str, Any],
) -> "TypeAllocation":
    """Measure every tensor of the source, and choose a type for each."""
    from gritlite.calibrate.auto_types import (
        allocate_for_loss,
        allocate_for_size,
        check_max_size,
        measure_sensitivities,
        sensitivity_meter,
    )
    from gritlite.cli.shared.progress import progress_callback, waiting
    from gritlite.runtime.model import GritLM
    from gritlite.runtime.sample_texts import DEFAULT_TEXTS
    from gritlite.system.files import check_output

    check_output(output, force=options["force"])
    locate_or_pull(source)
    with GritLM(source, threads=options["threads"], editable=True) as model:
        with waiting("computing with the weights as they are"):
            meter = sensitivity_meter(model, files or DEFAULT_TEXTS, options["imatrix"])
        if max_size is not None:
            check_max_size(meter, max_size)
        with progress_callback("measuring", unit="tensor") as on_progress:
            found = measure_sensitivities(meter, on_progress)
        if max_size is None:
            assert max_loss is not None
            with waiting("choosing"):
                return allocate_for_loss(meter, found, max_loss)
        with progress_callback("choosing", unit="attempt") as on_progress:
            return allocate_for_size(meter, found, max_size, on_progress)


def _losses(name: str, losses: "Losses") -> str:
    return f"{name}: 1 - cosine {losses.embed:.3g}, KL divergence {losses.generate:.3g}"
