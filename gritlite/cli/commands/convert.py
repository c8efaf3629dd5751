"""`gritlite convert`: from a checkpoint or a GGUF file to a GGUF file, or to GPTQ weights."""

from pathlib import Path
from typing import Any

import click

from gritlite.cli.shared.conversion import conversion_options, first_of, run, type_option
from gritlite.cli.shared.options import texts_option
from gritlite.errors import UsageError


@click.command()
@click.argument("source", metavar="SRC")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of a PEFT LoRA adapter to merge into the weights.",
)
@type_option(required=False, note="; GPTQ weights may be kept as they are without it")
@conversion_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["gguf", "gptq"]),
    default="gguf",
    show_default=True,
    help="What to write: a file, or a folder of GPTQ weights.",
)
@click.option(
    "--bits",
    type=click.Choice(["2", "3", "4", "8"]),
    help="With gptq: bits a weight; 4 by default.",
)
@click.option(
    "--group-size",
    type=click.Choice(["32", "64", "128"]),
    help="With gptq: columns that share a scale; 32 by default.",
)
@texts_option("With gptq: text to calibrate with, as in `gritlite calibrate`.")
def command(
    source: str,
    output: Path,
    target: str | None,
    form: str,
    bits: str | None,
    group_size: str | None,
    files: tuple[Path, ...],
    **options: Any,
) -> None:
    """Turn a Hugging Face checkpoint or a GGUF file into a GGUF file.

    SRC is a folder with config.json, a tokenizer and safetensors, a GGUF file, or
    the name of a pulled model. Types from large to small: f32, f16 and bf16 as they
    are trained, q8_0 near lossless, q4_k_m the usual choice, q2_k the smallest
    without an importance matrix.

    With --format gptq the output is a folder for transformers, calibrated in both
    modes; with 4 bits `gritlite convert FOLDER -o FILE` makes a GGUF file of the same
    numbers.
    """
    if form == "gptq":
        gguf_only = {"type": target, **options, "force": None}
        refused = [name for name, value in gguf_only.items() if value]
        if refused:
            raise UsageError(f"--{refused[0]} is for --format gguf")
        _to_gptq(source, output, files, int(bits or 4), int(group_size or 32), options["force"])
        return
    if bits or group_size or files:
        raise UsageError("--bits, --group-size and --texts are for --format gptq")
    run(source, output, target, **options)


def _to_gptq(
    source: str, output: Path, files: tuple[Path, ...], bits: int, group_size: int, force: bool
) -> None:
    from functools import partial

    from gritlite.calibrate.default_texts import DEFAULT_TEXTS
    from gritlite.cli.shared.progress import bar, show
    from gritlite.gptq.conversion import convert_to_gptq
    from gritlite.system.locate import locate

    with bar("solving", unit="layer") as shown:
        report = convert_to_gptq(
            locate(source),
            output,
            files or DEFAULT_TEXTS,
            bits=bits,
            group_size=group_size,
            force=force,
            on_progress=partial(show, shown),
        )
    if report.only_rounded:
        click.echo(
            f"gritlite: {len(report.only_rounded)} matrices saw too few tokens and were only "
            f"rounded; calibrate on more text: {first_of(report.only_rounded)}",
            err=True,
        )
    click.echo(
        f"{report.output}: {bits} bits in groups of {group_size}, from {report.embed_tokens:,} "
        f"tokens embedded and {report.generate_tokens:,} read"
    )
