"""`gritlite train`: an adapter from a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.advice import advice
from gritlite.cli.shared.notices import print_notice
from gritlite.errors import MissingExtraError, OutputExistsError
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.system.progress import ProgressCallback
    from gritlite.train.loss_log import Step


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the run."
)
@click.option("--resume", is_flag=True, help="Continue from the folder's checkpoint.")
@advice(OutputExistsError, "pass --resume to continue it, or name another folder")
def command(recipe: Path, output: Path, resume: bool) -> None:
    """Train an adapter for both tasks from a recipe.

    RECIPE is a TOML file that names the base model, the training rows and what to learn
    from them (docs/training.md). Ctrl-C stops after the current step and keeps a
    checkpoint.
    """
    from gritlite.cli.shared.interrupts import stop_between_steps
    from gritlite.cli.shared.progress import advance_to, progress_bar

    try:
        from gritlite.train.run import train
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train", "training") from error

    with stop_between_steps() as stopping, progress_bar("training", unit="step") as bar:

        def phase(name: str, unit: str) -> "ProgressCallback":
            def advance(done: int, total: int) -> None:
                bar.set_description_str(name, refresh=False)
                bar.unit = f" {unit}"
                advance_to(bar, done, total)

            return advance

        def started(done: int, total: int) -> None:
            bar.reset()
            phase("training", "steps")(done, total)

        def trained(step: "Step") -> None:
            losses = {name: f"{loss:.3f}" for name, loss in step.losses.items()}
            bar.set_postfix(losses, refresh=False)
            bar.update()

        report = train(
            recipe,
            output,
            resume=resume,
            on_teach=phase("teaching", "vectors"),
            on_align=phase("aligning", "texts"),
            on_start=started,
            on_projection=phase("projecting", "texts"),
            on_step=trained,
            stopping=stopping.is_set,
        )
    for file, count in report.left_out.items():
        too_long = counted(count, "row was", "rows were")
        print_notice(f"{file}: {too_long} too long and left out")
    if not report.finished:
        print_notice(f"stopped after step {report.steps:,}: continue with --resume")
        raise SystemExit(130)
    click.echo(f"{report.folder / 'adapter'}: {counted(report.steps, 'step')}")
