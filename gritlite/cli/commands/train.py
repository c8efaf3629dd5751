"""`gritlite train`: from a recipe to an adapter."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gritlite.train.loss_log import Step


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the run."
)
@click.option("--resume", is_flag=True, help="Go on from the folder's checkpoint.")
def command(recipe: Path, output: Path, resume: bool) -> None:
    """Train an adapter that embeds and generates, from a recipe.

    RECIPE is a TOML file that names the base model, the training rows and what is
    learned from them (docs/training.md). Ctrl-C stops after the step in progress
    and keeps a checkpoint.
    """
    from gritlite.cli.shared.interrupts import stop_between_steps
    from gritlite.cli.shared.progress import bar, show
    from gritlite.errors import MissingExtraError

    try:
        from gritlite.train.run import train
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train", "training") from error

    with stop_between_steps() as asked, bar("training", unit="step") as shown:

        def advance(step: "Step") -> None:
            losses = {name: f"{loss:.3f}" for name, loss in step.losses.items()}
            shown.set_postfix(losses, refresh=False)
            shown.update()

        report = train(
            recipe,
            output,
            resume=resume,
            on_start=partial(show, shown),
            on_step=advance,
            stopping=asked.is_set,
        )
    for file, count in report.left_out.items():
        click.echo(f"gritlite: {file}: {count:,} rows were too long and left out", err=True)
    if not report.finished:
        click.echo(f"gritlite: stopped after step {report.steps:,}: go on with --resume", err=True)
        raise SystemExit(130)
    click.echo(f"{report.folder / 'adapter'}: {report.steps:,} steps")
