"""`gritlite quantize`: from a GGUF file to a smaller one."""

from pathlib import Path
from typing import Any

import click

from gritlite.cli.conversion import conversion_options, run


@click.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--requantize", is_flag=True, help="Take a file that is quantized already: rounds twice."
)
@conversion_options
def command(source: str, output: Path, target: str, **options: Any) -> None:
    """Quantize a GGUF file.

    IN is a file in f32, f16 or bf16, or the name of a pulled model. The tensors
    are, byte for byte, those that llama.cpp's llama-quantize writes.
    """
    run(source, output, target, **options)
