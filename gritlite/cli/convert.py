"""`gritlite convert`: from a checkpoint or a GGUF file to a GGUF file of any type."""

from pathlib import Path
from typing import Any

import click

from gritlite.cli.conversion import conversion_options, run, type_option


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
def command(source: str, output: Path, target: str | None, **options: Any) -> None:
    """Turn a Hugging Face checkpoint or a GGUF file into a GGUF file.

    SRC is a folder with config.json, a tokenizer and safetensors, a GGUF file, or
    the name of a pulled model. Types from large to small: f32, f16 and bf16 as they
    are trained, q8_0 near lossless, q4_k_m the usual choice, q2_k the smallest
    without an importance matrix.
    """
    run(source, output, target, **options)
