"""`gritlite embed`: texts in, vectors out, both as streams."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import click

from gritlite.cli.shared.advice import advice
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.options import force_option, load_model, model_options
from gritlite.errors import InputError, InputTooLongError

if TYPE_CHECKING:
    from gritlite.cli.commands.embed_input import Texts
    from gritlite.runtime.model import GritLM


class _Options(TypedDict):
    instruction: str
    max_length: int | None
    too_long: Literal["error", "truncate", "chunk"]


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path())
@model_options
@click.option("--instruction", default="", metavar="WORDS", help="What the texts are embedded for.")
@click.option("--field", metavar="NAME", help="Read JSON Lines and embed this field.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write: .npy, .jsonl or .parquet. By default JSON Lines go to standard output.",
)
@force_option()
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens of a text with its prompt; by default as many as fit into one pass.",
)
@click.option("--truncate", is_flag=True, help="Cut texts that are longer.")
@click.option("--chunk", is_flag=True, help="Embed longer texts in pieces, and average these.")
@click.option(
    "--pass-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens packed into one pass."
)
@advice(InputTooLongError, "pass --truncate or --chunk")
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
    read. In *.jsonl files the text is the field "text", or the one that --field names.
    The vectors are float32, of unit length, in the order of the texts.
    """
    from gritlite.cli.commands.embed_input import STANDARD_INPUT, Texts
    from gritlite.cli.commands.embed_output import check_destination

    too_long = _too_long(truncate, chunk)
    check_destination(output, force=force)
    texts = Texts(files or (STANDARD_INPUT,), field)
    if pass_tokens is not None:
        model_choice["pass_tokens"] = pass_tokens
    with load_model(**model_choice) as model, _located_errors(texts):
        options: _Options = {
            "instruction": model.format.with_instruction(instruction),
            "max_length": max_length,
            "too_long": too_long,
        }
        _embed(model, texts, output, options, force=force)


def _embed(
    model: "GritLM", texts: "Texts", output: Path | None, options: _Options, *, force: bool
) -> None:
    """Embed the texts into the output, and print how many there were."""
    from gritlite.cli.commands.embed_output import open_writer
    from gritlite.cli.shared.progress import progress_bar

    if texts.rereadable:  # report a bad line before the work begins, not after hours of it
        model.check(texts, **options)
        texts.restart()
    count, cut = 0, threading.Event()
    vectors = model.encode_stream(texts, on_cut=cut, **options)
    with (
        open_writer(output, model.dimension, force=force) as write,
        progress_bar("embedding", unit="B", total=texts.bytes_total) as bar,
    ):
        for part in vectors:
            write(part)
            count += len(part)
            bar.update(texts.bytes_read - bar.n)
    if cut.is_set():
        limit = min(options["max_length"] or model.max_length, model.max_length)
        print_notice(f"longer texts were cut to {limit:,} tokens")
    if output is not None:
        click.echo(f"{output}: {count:,} vectors of {model.dimension:,} dimensions")


def _too_long(truncate: bool, chunk: bool) -> Literal["error", "truncate", "chunk"]:
    if truncate and chunk:
        raise click.UsageError("--truncate and --chunk exclude each other: pass one")
    return "truncate" if truncate else "chunk" if chunk else "error"


@contextmanager
def _located_errors(texts: "Texts") -> Iterator[None]:
    """Replace the number of a text in errors by its file and line."""
    try:
        yield
    except InputError as error:
        if error.index is None:
            raise
        raise type(error)(f"{texts.place(error.index)}: {error.problem}") from error
