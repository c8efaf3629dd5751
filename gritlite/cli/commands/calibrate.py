"""`gritlite calibrate`: what a model's matrices are fed, in both modes, as an importance matrix."""

import time
from pathlib import Path
from typing import Any

import click

from gritlite.cli.shared.options import load, running_options, texts_option
from gritlite.errors import CancelledError, OutputExistsError, UsageError

_SECONDS_BETWEEN_CHECKPOINTS = 60


@click.command()
@click.argument("model")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
@texts_option(
    "Text or JSON Lines to calibrate with, several if given again; gritlite's own by default."
)
@click.option(
    "--embed-weight",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="What embedding counts beside generation.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint beside the output.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@running_options
def command(
    model: str,
    output: Path,
    files: tuple[Path, ...],
    embed_weight: float,
    resume: bool,
    force: bool,
    **options: Any,
) -> None:
    """Gather an importance matrix, from passes in both modes.

    MODEL is a GGUF file, best in f32, f16 or bf16, or the name of a pulled model.
    The texts are embedded and read, and how strongly each matrix's columns are used
    is written in llama.cpp's format, for `gritlite quantize --imatrix`. A run that
    was stopped leaves a checkpoint beside the output.
    """
    from gritlite.calibrate.calibration import Calibrator
    from gritlite.calibrate.default_texts import DEFAULT_TEXTS
    from gritlite.cli.shared.interrupts import stop_between_steps
    from gritlite.cli.shared.progress import bar, show
    from gritlite.quant.imatrix import write_imatrix
    from gritlite.system.files import check_output

    check_output(output, force=force)
    checkpoint = output.with_name(output.name + ".checkpoint")
    if resume and not checkpoint.exists():
        raise UsageError(f"there is no {checkpoint} to resume from: leave out --resume")
    if checkpoint.exists() and not (resume or force):
        raise OutputExistsError(
            f"{checkpoint} is of a calibration that was stopped: pass --resume to go on with it, "
            "or --force to begin anew"
        )
    with (
        load(model, **options) as loaded,
        stop_between_steps() as asked,
        bar("calibrating", unit="token") as shown,
    ):
        calibrator = Calibrator(loaded, files or DEFAULT_TEXTS, embed_weight=embed_weight)
        if resume:
            calibrator.resume(checkpoint)
        saved = time.monotonic()
        for done in calibrator.run():
            show(shown, done, calibrator.tokens)
            if asked.is_set() or time.monotonic() > saved + _SECONDS_BETWEEN_CHECKPOINTS:
                calibrator.save(checkpoint)
                saved = time.monotonic()
            if asked.is_set():
                raise CancelledError(f"stopped; go on with --resume, or delete {checkpoint}")
        found = calibrator.result()
        write_imatrix(found.imatrix, output, force=force)
    checkpoint.unlink(missing_ok=True)
    click.echo(
        f"{output}: {len(found.imatrix.tensors)} tensors, {found.embed_tokens:,} tokens embedded, "
        f"{found.generate_tokens:,} read"
    )
