"""`gritlite convert`: a checkpoint or a GGUF file as a GGUF file, GPTQ weights or an ONNX graph."""

from pathlib import Path
from typing import Any

import click

from gritlite.cli.commands.convert_onnx import PRECISIONS, convert_to_onnx
from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.conversion import (
    abbreviated,
    conversion_options,
    run_conversion,
    type_option,
)
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import complete_model, texts_option
from gritlite.cli.shared.pulling import locate_or_pull
from gritlite.errors import UsageError
from gritlite.system.wording import counted


@click.command()
@click.argument("source", metavar="SRC", shell_complete=complete_model)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of a PEFT LoRA adapter to merge into the weights.",
)
@click.option(
    "--trained-to-embed",
    is_flag=True,
    help="Declare that the model was trained to embed, where its files do not say so.",
)
@type_option(required=False, note="; optional for GPTQ weights, which then keep theirs")
@conversion_options
@click.option(
    "--for-embedding",
    is_flag=True,
    help="Write a file that llama.cpp's programs embed with, and that cannot chat.",
)
@click.option(
    "--format",
    "form",
    type=Choice(["gguf", "gptq", "onnx"]),
    default="gguf",
    show_default=True,
    help="What to write: a GGUF file, a folder of GPTQ weights, or one of an ONNX graph.",
)
@click.option(
    "--bits",
    type=Choice(["2", "3", "4", "8"]),
    help="With gptq: bits for each weight; 4 by default.",
)
@click.option(
    "--group-size",
    type=Choice(["32", "64", "128"]),
    help="With gptq: number of columns that share a scale; 32 by default.",
)
@click.option(
    "--precision",
    type=Choice(PRECISIONS),
    help="With onnx: the numbers of the file, int8 for speed, or float32; exact by default.",
)
@texts_option("With gptq: text to calibrate with, as in `gritlite calibrate`.")
def command(
    source: str,
    output: Path,
    target: str | None,
    form: str,
    bits: str | None,
    group_size: str | None,
    precision: str | None,
    files: tuple[Path, ...],
    **options: Any,
) -> None:
    """Convert a Hugging Face checkpoint or a GGUF file to GGUF.

    SRC is a folder with config.json, a tokenizer and safetensors, a GGUF file, or
    the name of a pulled model. Types from large to small: f32, f16 and bf16 keep the
    precision of training, q8_0 is nearly lossless, q4_k_m is the usual choice, q2_k is
    the smallest that needs no importance matrix.

    With --format gptq the output is a folder for transformers, calibrated in both
    modes. From 4-bit weights, `gritlite convert FOLDER -o FILE` makes a GGUF file with
    the same numbers.

    With --format onnx it is a folder for ONNX Runtime and optimum: token ids in, hidden
    states out.
    """
    only: dict[str, dict[str, Any]] = {
        "gptq": {"--bits": bits, "--group-size": group_size, "--texts": files},
        "onnx": {"--precision": precision},
        "gguf": _gguf_only(target, options, form),
    }
    for other, given in only.items():
        refused = [name for name, value in given.items() if value]
        if other != form and refused:
            raise UsageError(f"{refused[0]} is for --format {other}")
    if form == "gptq":
        _convert_to_gptq(
            source, output, files, int(bits or 4), int(group_size or 32), options["force"]
        )
    elif form == "onnx":
        convert_to_onnx(
            source,
            output,
            precision or "exact",  # type: ignore[arg-type] # one of PRECISIONS
            threads=options["threads"],
            force=options["force"],
        )
    else:
        run_conversion(source, output, target, **options)


def _gguf_only(target: str | None, options: dict[str, Any], form: str) -> dict[str, Any]:
    """The options that the other formats refuse, by name."""
    allowed = {"force", "threads"} if form == "onnx" else {"force"}
    given = {"type": target, **options}
    return {
        f"--{name.replace('_', '-')}": value for name, value in given.items() if name not in allowed
    }


def _convert_to_gptq(
    source: str, output: Path, files: tuple[Path, ...], bits: int, group_size: int, force: bool
) -> None:
    """Quantize with GPTQ under a progress bar, and print what was written."""
    from gritlite.cli.shared.progress import progress_callback
    from gritlite.gptq.conversion import convert_to_gptq
    from gritlite.runtime.sample_texts import DEFAULT_TEXTS

    located = locate_or_pull(source)
    with progress_callback("solving", unit="layer") as on_progress:
        report = convert_to_gptq(
            located,
            output,
            files or DEFAULT_TEXTS,
            bits=bits,
            group_size=group_size,
            force=force,
            on_progress=on_progress,
        )
    if report.only_rounded:
        rounded = counted(len(report.only_rounded), "matrix was", "matrices were")
        print_notice(
            f"{rounded} only rounded, for lack of tokens: "
            f"calibrate on more text: {abbreviated(report.only_rounded)}"
        )
    click.echo(
        f"{report.output}: {bits} bits in groups of {group_size}, from {report.embed_tokens:,} "
        f"tokens in embed mode and {report.generate_tokens:,} in generate mode"
    )
