"""`gritlite convert`: from a checkpoint or a GGUF file to a GGUF file of any type."""

from pathlib import Path

import click

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
)


@click.command()
@click.argument("source", metavar="SRC")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
@click.option(
    "-t", "--type", "target", required=True, type=click.Choice(TYPES), help="Type of the weights."
)
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of a PEFT LoRA adapter to merge into the weights.",
)
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use; all cores by default.")
def command(
    source: str, output: Path, target: str, adapter: Path | None, force: bool, threads: int | None
) -> None:
    """Turn a Hugging Face checkpoint or a GGUF file into a GGUF file.

    SRC is a folder with config.json, a tokenizer and safetensors, a GGUF file, or
    the name of a pulled model. Types from large to small: f32, f16 and bf16 as they
    are trained, q8_0 near lossless, q4_k_m the usual choice, q2_k the smallest.
    """
    from gritlite.cli import progress
    from gritlite.convert import convert
    from gritlite.hub.locate import locate

    with progress.conversion_bar() as show:
        report = convert(
            locate(source),
            output,
            target,
            adapter=adapter,
            force=force,
            threads=threads,
            on_progress=show,
        )
    for fallback in report.fallbacks:
        click.echo(f"gritlite: {fallback}", err=True)
    if report.requantized:
        click.echo(
            f"gritlite: {report.requantized} tensors were quantized before and have now been "
            "rounded twice: take f32, f16 or bf16 weights as the source if there are any",
            err=True,
        )
    click.echo(
        f"{report.output}: {report.tensors} tensors, {report.bytes / 2**20:.1f} MiB, {target}"
    )
