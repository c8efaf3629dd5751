"""`gritlite quantize`: from a GGUF file to a smaller one."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.conversion import conversion_options, run, type_option
from gritlite.cli.shared.options import byte_count, texts_option
from gritlite.errors import UsageError

if TYPE_CHECKING:
    from gritlite.calibrate.auto_types import Choice
    from gritlite.calibrate.sensitivity import Losses


@click.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@type_option("auto")
@click.option(
    "--max-size",
    callback=byte_count,
    metavar="SIZE",
    help="With auto: the largest file, as 4.0GiB or 700MB.",
)
@click.option(
    "--max-loss",
    type=click.FloatRange(0, min_open=True),
    help="With auto: the largest loss; 1 is what still counts as good.",
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
    are, byte for byte, those that llama.cpp's llama-quantize writes.

    The type auto measures what rounding each tensor costs both tasks, and puts the
    bits where they matter most for the two together, within --max-size or --max-loss.
    """
    if target == "auto":
        if (max_size is None) == (max_loss is None):
            raise UsageError("the type auto needs --max-size or --max-loss, and not both")
        if max_loss is not None and not isfinite(max_loss):
            raise UsageError(f"--max-loss is {max_loss}: expected a number, as 1.0")
        if options["requantize"]:
            raise UsageError("--requantize: the type auto takes f32, f16 or bf16 weights only")
        choice = _automatic(source, output, max_size, max_loss, files, options)
        click.echo(f"gritlite: {_losses('measured', choice.losses)}", err=True)
        if choice.rival is not None:
            rival = choice.rival
            click.echo(f"gritlite: {_losses(rival.target, rival.losses)}", err=True)
            if rival.loses_less(choice.losses):
                click.echo(f"gritlite: {rival.target} of this size loses less in a task", err=True)
        run(source, output, choice.target, types=choice.types, **options)
        return
    if max_size is not None or max_loss is not None or files:
        raise UsageError("--max-size, --max-loss and --texts are for the type auto")
    run(source, output, target, **options)


def _automatic(
    source: str,
    output: Path,
    max_size: int | None,
    max_loss: float | None,
    files: tuple[Path, ...],
    options: dict[str, Any],
) -> "Choice":
    """Measure every tensor of the source, and choose."""
    from functools import partial

    from gritlite.calibrate.auto_types import check_size, fit_loss, fit_size, measure, read_meter
    from gritlite.calibrate.default_texts import DEFAULT_TEXTS
    from gritlite.cli.shared.progress import bar, show
    from gritlite.runtime.model import GritLM
    from gritlite.system.files import check_output

    check_output(output, force=options["force"])
    with GritLM(source, threads=options["threads"], editable=True) as model:
        meter = read_meter(model, files or DEFAULT_TEXTS, options["imatrix"])
        if max_size is not None:
            check_size(meter, max_size)
        with bar("measuring", unit="tensor") as shown:
            found = measure(meter, partial(show, shown))
        if max_size is None:
            assert max_loss is not None
            return fit_loss(meter, found, max_loss)
        with bar("choosing", unit="try") as shown:
            return fit_size(meter, found, max_size, partial(show, shown))


def _losses(name: str, losses: "Losses") -> str:
    return f"{name}: 1 - cosine {losses.embed:.3g}, KL divergence {losses.generate:.3g}"
