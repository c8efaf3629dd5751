"""`gritlite embed`: texts in, vectors out, both as streams."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import click

from gritlite.cli.shared.options import load, model_options

if TYPE_CHECKING:
    from gritlite.cli.shared.texts import Texts


class _Choices(TypedDict):
    instruction: str
    max_length: int | None
    too_long: Literal["error", "truncate", "chunk"]


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1)
@model_options
@click.option("--instruction", default="", metavar="WORDS", help="What the texts are embedded for.")
@click.option("--field", metavar="NAME", help="Read JSON Lines; the text is this field.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, .npy, .jsonl or .parquet; without it JSON Lines go to standard output.",
)
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens of a text with its prompt; by default as many as one pass can hold.",
)
@click.option("--truncate", is_flag=True, help="Cut texts that are longer.")
@click.option("--chunk", is_flag=True, help="Embed longer texts in pieces and take their mean.")
@click.option(
    "--pass-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens packed into one pass."
)
def command(
    files: tuple[str, ...],
    instruction: str,
    field: str | None,
    output: Path | None,
    force: bool,
    max_length: int | None,
    truncate: bool,
    chunk: bool,
    pass_tokens: int | None,
    **model_choice: Any,
) -> None:
    """Turn texts into vectors.

    Every line of each FILE is one text; without FILE, or for `-`, standard input is
    read. Of *.jsonl files the field "text" is taken, or the one that --field names.
    The vectors are float32, of unit length, in the order of the texts.
    """
    from gritlite.cli.shared.progress import bar
    from gritlite.cli.shared.texts import STANDARD_INPUT, Texts
    from gritlite.cli.shared.vectors import check_destination, writing

    too_long = _too_long(truncate, chunk)
    check_destination(output, force=force)
    texts = Texts(files or (STANDARD_INPUT,), field)
    if pass_tokens is not None:
        model_choice["pass_tokens"] = pass_tokens
    count, cut = 0, threading.Event()
    with load(**model_choice) as model, _placed_errors(texts):
        choices: _Choices = {
            "instruction": model.format.with_instruction(instruction),
            "max_length": max_length,
            "too_long": too_long,
        }
        if texts.rereadable:  # a bad line is told before the work begins, not after hours
            model.check(texts, **choices)
            texts.restart()
        vectors = model.encode_stream(texts, on_cut=cut, **choices)
        with (
            writing(output, model.dimension, force=force) as write,
            bar("embedding", unit="B", total=texts.bytes_total) as shown,
        ):
            for part in vectors:
                write(part)
                count += len(part)
                shown.update(texts.bytes_read - shown.n)
        if cut.is_set():
            limit = min(max_length or model.max_length, model.max_length)
            click.echo(f"gritlite: longer texts were cut to {limit:,} tokens", err=True)
        if output is not None:
            click.echo(f"{output}: {count:,} vectors of {model.dimension:,} dimensions")


def _too_long(truncate: bool, chunk: bool) -> Literal["error", "truncate", "chunk"]:
    if truncate and chunk:
        raise click.UsageError("--truncate and --chunk exclude each other: pass one")
    return "truncate" if truncate else "chunk" if chunk else "error"


@contextmanager
def _placed_errors(texts: "Texts") -> Iterator[None]:
    """Say the file and line where an error knows only the number of a text."""
    from gritlite.errors import InputError, InputTooLongError

    try:
        yield
    except InputError as error:
        if error.index is None:
            raise
        cure = " (--truncate or --chunk)" if isinstance(error, InputTooLongError) else ""
        raise type(error)(f"{texts.place(error.index)}: {error.problem}{cure}") from error
