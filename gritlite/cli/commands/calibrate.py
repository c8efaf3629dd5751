"""`gritlite calibrate`: an importance matrix from passes in both modes."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.options import (
    complete_model,
    force_option,
    load_model,
    running_options,
    texts_option,
)
from gritlite.errors import CancelledError, UsageError
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.calibrate.calibration import Calibrator

_SECONDS_BETWEEN_CHECKPOINTS = 60


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
@texts_option("Text or JSON Lines to calibrate with, repeatable; gritlite's own by default.")
@click.option(
    "--embed-weight",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Weight of embedding passes; generation passes have the rest.",
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint beside the output.")
@force_option()
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
    """Compute an importance matrix from passes in both modes.

    MODEL is a GGUF file, preferably in f32, f16 or bf16, or the name of a pulled model.
    The texts pass through the model in embed mode and in generate mode. How strongly
    each matrix's columns are used is written in llama.cpp's format, for
    `gritlite quantize --imatrix`. An interrupted run leaves a checkpoint beside the
    output.
    """
    from gritlite.calibrate.calibration import Calibrator
    from gritlite.cli.shared.interrupts import stop_between_steps
    from gritlite.quant.imatrix import write_imatrix
    from gritlite.runtime.sample_texts import DEFAULT_TEXTS
    from gritlite.system.files import check_output

    check_output(output, force=force)
    checkpoint = output.with_name(output.name + ".checkpoint")
    if resume and not checkpoint.exists():
        raise UsageError(f"there is no {checkpoint} to resume from: leave out --resume")
    if checkpoint.exists() and not (resume or force):
        raise UsageError(
            f"{checkpoint} is from an interrupted calibration: pass --resume to continue it, "
            "or --force to start again"
        )
    with load_model(model, **options) as loaded, stop_between_steps() as stopping:
        calibrator = Calibrator(loaded, files or DEFAULT_TEXTS, embed_weight=embed_weight)
        if resume:
            calibrator.resume(checkpoint)
        _run(calibrator, checkpoint, stopping)
        found = calibrator.result()
        write_imatrix(found.imatrix, output, force=force)
    checkpoint.unlink(missing_ok=True)
    click.echo(
        f"{output}: {counted(len(found.imatrix.tensors), 'tensor')}, "
        f"{counted(found.embed_tokens, 'token')} in embed mode, {found.generate_tokens:,} in "
        "generate mode"
    )


def _run(calibrator: "Calibrator", checkpoint: Path, stopping: threading.Event) -> None:
    """Run all passes. Saves a checkpoint from time to time, and when stopped."""
    from gritlite.cli.shared.progress import advance_to, progress_bar

    total = calibrator.tokens
    with progress_bar(
        "calibrating", unit="token", total=total, initial=calibrator.tokens_done
    ) as bar:
        saved = time.monotonic()
        for done in calibrator.run():
            advance_to(bar, done, total)
            if stopping.is_set() or time.monotonic() > saved + _SECONDS_BETWEEN_CHECKPOINTS:
                calibrator.save(checkpoint)
                saved = time.monotonic()
            if stopping.is_set():
                raise CancelledError(f"stopped: continue with --resume, or delete {checkpoint}")
