"""What `convert` and `quantize` share: options, a bar, and what is said in the end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.options import combined

if TYPE_CHECKING:
    from gritlite.convert import ConversionReport

# the keys of gritlite.quant.types.TARGETS, which would be slow to import for --help
TYPES = (
    "f32",
    "f16",
    "bf16",
    "q8_0",
    "q6_k",
    "q5_k_m",
    "q4_k_m",
    "q4_0",
    "q4_1",
    "iq4_xs",
    "q3_k_m",
    "q2_k",
    "iq3_xxs",
    "iq2_m",
    "iq2_s",
    "iq2_xs",
    "iq2_xxs",
    "iq1_m",
    "iq1_s",
)


def type_option(*more: str, required: bool = True, note: str = "") -> Callable[[Any], Any]:
    """--type, of the types there are and `more`."""
    return click.option(
        "-t",
        "--type",
        "target",
        required=required,
        type=click.Choice((*TYPES, *more)),
        help=f"Type of the weights{note}.",
    )


conversion_options = combined(
    click.option(
        "--imatrix",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Importance matrix of the model; iq1, iq2 and iq3 need one.",
    ),
    click.option(
        "--requantize", is_flag=True, help="Take weights that are quantized already: rounds twice."
    ),
    click.option("--force", is_flag=True, help="Replace the output if it exists."),
    click.option(
        "--threads", type=click.IntRange(min=1), help="Threads to use; all cores by default."
    ),
)


def run(source: str, output: Path, target: str | None, **options: Any) -> None:
    """Convert under a bar and say what was written, and what was not as asked for."""
    from gritlite.cli.shared import progress
    from gritlite.convert import convert
    from gritlite.system.locate import locate

    with progress.conversion_bar() as show:
        report = convert(locate(source), output, target, on_progress=show, **options)
    for remark in _remarks(report):
        click.echo(f"gritlite: {remark}", err=True)
    size = report.bytes / 2**20
    click.echo(
        f"{report.output}: {report.tensors} tensors, {size:.1f} MiB, {target or 'as stored'}"
    )


def _remarks(report: "ConversionReport") -> list[str]:
    remarks = list(report.fallbacks)
    if report.requantized:
        remarks.append(
            f"{report.requantized} tensors were quantized before and have now been rounded twice: "
            "take f32, f16 or bf16 weights as the source if there are any"
        )
    if report.without_importance:
        remarks.append(
            f"{len(report.without_importance)} tensors are not in the importance matrix and were "
            f"quantized without it: {first_of(report.without_importance)}"
        )
    return remarks


def first_of(names: Sequence[str]) -> str:
    """The first three names, and whether there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
