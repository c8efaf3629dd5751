"""What `convert` and `quantize` share: their options, and running a conversion."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.advice import advice
from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.notices import print_notice, print_origin
from gritlite.cli.shared.options import combined, force_option
from gritlite.cli.shared.pulling import locate_or_pull, pull_option
from gritlite.errors import RequantizationError
from gritlite.system.wording import counted

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
    """--type, one of TYPES and `more`, as the parameter `target`."""
    return click.option(
        "-t",
        "--type",
        "target",
        required=required,
        type=Choice((*TYPES, *more)),
        help=f"Type of the weights{note}.",
    )


conversion_options = combined(
    click.option(
        "--imatrix",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Importance matrix of the model; the iq1, iq2 and iq3 types need one.",
    ),
    click.option(
        "--requantize",
        is_flag=True,
        help="Allow weights that are quantized already to be rounded a second time.",
    ),
    force_option(),
    click.option(
        "--threads", type=click.IntRange(min=1), help="Number of threads; all cores by default."
    ),
    pull_option,
    advice(RequantizationError, "pass --requantize to allow it"),
)


def run_conversion(source: str, output: Path, target: str | None, **options: Any) -> None:
    """Convert with a progress bar, and print what was written."""
    from gritlite.cli.shared.progress import conversion_bar
    from gritlite.convert import convert

    located = locate_or_pull(source)
    print_origin(located)
    with conversion_bar() as on_progress:
        report = convert(located, output, target, on_progress=on_progress, **options)
    for notice in _notices(report):
        print_notice(notice)
    size = report.bytes / 2**20
    click.echo(
        f"{report.output}: {counted(report.tensors, 'tensor')}, {size:.1f} MiB, "
        f"{target or 'as stored'}"
    )


def _notices(report: "ConversionReport") -> list[str]:
    """What the user should know about the tensors that were written."""
    notices = [*report.notices, *report.fallbacks]
    if report.requantized:
        notices.append(
            f"{counted(report.requantized, 'tensor was', 'tensors were')} quantized before and now "
            "rounded twice: use f32, f16 or bf16 weights as the source if you have them"
        )
    if report.for_both_tasks:
        notices.append(
            "the source was written for embedding only, and the output is for both tasks again"
        )
    missing = len(report.without_importance)
    if missing:
        notices.append(
            f"{counted(missing, 'tensor is', 'tensors are')} not in the importance matrix, and "
            f"quantized without it: {abbreviated(report.without_importance)}"
        )
    return notices


def abbreviated(names: Sequence[str]) -> str:
    """The first three names, with "..." if there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
