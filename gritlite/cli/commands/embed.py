"""`gritlite embed`: texts in, vectors out, both as streams."""

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import click

from gritlite.cli.shared.advice import advice
from gritlite.cli.shared.choice import Choice
from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.notices import print_if_untrained, print_notice
from gritlite.cli.shared.options import force_option, load_model, model_options
from gritlite.errors import EmptyTextError, InputTooLongError, UsageError
from gritlite.runtime.located_errors import located_errors
from gritlite.system.wording import counted

if TYPE_CHECKING:
    from gritlite.cli.commands.embed_input import Split, Texts
    from gritlite.cli.commands.embed_output import Write
    from gritlite.cli.commands.embed_partial import PartialResult
    from gritlite.runtime.embed import Vectors
    from gritlite.runtime.model import GritLM


_LONG = 100_000  # bytes of text from which on the comparison of engines pays


class _Options(TypedDict):
    instruction: str
    max_length: int | None
    too_long: Literal["error", "truncate", "chunk"]


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path())
@model_options
@engine_options()
@click.option("--instruction", default="", metavar="WORDS", help="What the texts are embedded for.")
@click.option(
    "--split",
    type=Choice(("lines", "paragraphs", "files")),
    default="lines",
    show_default=True,
    help="What one text is: a line, the lines between blank ones, or a whole file.",
)
@click.option("--skip-empty", is_flag=True, help="Leave out blank texts, and say how many.")
@click.option("--field", metavar="NAME", help="Read JSON Lines and embed this field.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write: .npy, .jsonl or .parquet. By default JSON Lines go to standard output.",
)
@force_option("Replace the output if it exists, and start again if a job was stopped.")
@click.option("--resume", is_flag=True, help="Go on where a stopped job left OUTPUT.partial.")
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens of a text with its prompt; by default as many as fit into one pass.",
)
@click.option(
    "--dimensions",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many numbers of each vector are kept, of the sizes that the model was trained for "
    "(`gritlite inspect` names them); all by default.",
)
@click.option("--truncate", is_flag=True, help="Cut texts that are longer.")
@click.option("--chunk", is_flag=True, help="Embed longer texts in pieces, and average these.")
@click.option(
    "--pass-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens packed into one pass."
)
@advice(InputTooLongError, "pass --truncate or --chunk")
@advice(EmptyTextError, "pass --skip-empty to leave out blank texts, or --split paragraphs")
def command(
    files: tuple[str, ...],
    instruction: str,
    split: "Split",
    skip_empty: bool,
    field: str | None,
    output: Path | None,
    force: bool,
    resume: bool,
    max_length: int | None,
    dimensions: int | None,
    truncate: bool,
    chunk: bool,
    pass_tokens: int | None,
    **model_choice: Any,
) -> None:
    """Turn texts into vectors.

    Every line of each FILE is one text, unless --split says otherwise; without FILE, or
    for `-`, standard input is read. In *.jsonl files the text is the field "text", or the
    one that --field names. The vectors are float32, of unit length, in the order of the
    texts.

    A job that is stopped, by `kill -9` too, leaves its vectors in OUTPUT.partial. The same
    command goes on there with --resume.
    """
    from gritlite.cli.commands.embed_input import STANDARD_INPUT, Texts
    from gritlite.cli.commands.embed_output import check_destination
    from gritlite.cli.commands.embed_partial import check_partial

    too_long = _too_long(truncate, chunk)
    check_destination(output, force=force)
    check_partial(output, resume=resume, force=force)
    texts = Texts(files or (STANDARD_INPUT,), field, split=split, skip_empty=skip_empty)
    if pass_tokens is not None:
        model_choice["pass_tokens"] = pass_tokens
    is_long = (texts.bytes_total or 0) >= _LONG
    with load_model(prepares=is_long, **model_choice) as model:
        print_if_untrained(model_choice["model"], model)
        model.format.check_dimensions(dimensions, model.dimension)
        options: _Options = {
            "instruction": model.format.with_instruction(instruction),
            "max_length": max_length,
            "too_long": too_long,
        }
        job = _Job(model, texts, options, dimensions or model.dimension, output)
        job.check()
        job.run(resume=resume, force=force)


class _Job:
    """Texts to embed, and where their vectors go."""

    def __init__(
        self,
        model: "GritLM",
        texts: "Texts",
        options: _Options,
        dimensions: int,
        output: Path | None,
    ) -> None:
        self._model = model
        self._dimensions = dimensions
        self._texts = texts
        self._options = options
        self._output = output
        self._limit = min(options["max_length"] or model.max_length, model.max_length)
        self._total: int | None = None
        # a bar would come between what is typed, or between the vectors
        self._no_bar = texts.from_terminal or (output is None and sys.stdout.isatty())

    def check(self) -> None:
        """Report a bad line before the work begins, not after hours of it."""
        from gritlite.cli.shared.progress import progress_bar

        texts = self._texts
        if not texts.rereadable:
            return
        with (
            progress_bar("checking", unit="B", total=texts.bytes_total, hidden=self._no_bar) as bar,
            located_errors(texts.place),
        ):
            self._total = self._model.check(_moving(texts, bar), **self._options)
        texts.restart()

    def run(self, *, resume: bool, force: bool) -> None:
        """Embed the texts into the output, and print how many there were."""
        from gritlite.cli.commands.embed_output import open_writer

        if self._texts.from_terminal:
            print_notice("reading lines from the terminal; end with Ctrl-D")
        dimension, texts, done = self._dimensions, iter(self._texts), 0
        with ExitStack() as stack:
            partial = stack.enter_context(self._open_partial(resume)) if self._output else None
            write = stack.enter_context(open_writer(self._output, dimension, force=force))
            if partial is not None:
                for vectors in partial.replay(texts):
                    write(vectors)
                done = partial.count
                if resume:
                    print_notice(f"going on after {counted(done, 'vector')}")
                texts = partial.following(texts)
                write = _both(write, partial.append)
            done += self._embed(texts, done, write)
        if self._texts.skipped:
            skipped = counted(self._texts.skipped, "blank text was", "blank texts were")
            print_notice(f"{skipped} left out")
        if self._output is not None:
            click.echo(f"{self._output}: {counted(done, 'vector')} of {dimension:,} dimensions")

    def _embed(self, texts: Iterator[str], before: int, write: "Write") -> int:
        """Embed texts that follow `before` others; return how many there were."""
        from gritlite.cli.shared.progress import progress_bar

        count, cut = 0, threading.Event()
        with (
            progress_bar(
                "embedding", unit="text", total=self._total, initial=before, hidden=self._no_bar
            ) as bar,
            located_errors(lambda index: self._texts.place(before + index)),
        ):
            for vectors in self._model.encode_stream(
                texts,
                dimensions=self._dimensions,
                on_cut=cut,
                progress=lambda done: bar.update(before + done - bar.n),
                **self._options,
            ):
                write(vectors)
                count += len(vectors)
        if cut.is_set():
            print_notice(f"longer texts were cut to {counted(self._limit, 'token')}")
        return count

    @contextmanager
    def _open_partial(self, resume: bool) -> "Iterator[PartialResult]":
        from gritlite.cli.commands.embed_partial import Job, open_partial, partial_path
        from gritlite.cli.shared.progress import identify

        assert self._output is not None
        job = Job(
            model=identify(self._model),
            dimension=self._dimensions,
            prompt=self._options["instruction"],
            max_length=self._limit,
            too_long=self._options["too_long"],
        )
        with open_partial(partial_path(self._output), job, resume=resume) as partial:
            try:
                yield partial
            except UsageError:  # it is of other texts
                raise
            except BaseException:
                if partial.count:
                    print_notice(
                        f"the first {counted(partial.count, 'vector')} are in {partial.path}: "
                        "pass --resume to go on there"
                    )
                raise


def _both(one: "Write", other: "Write") -> "Write":
    def write(vectors: "Vectors") -> None:
        one(vectors)
        other(vectors)

    return write


def _moving(texts: "Texts", bar: Any) -> Iterator[str]:
    """The texts, while the bar shows how many bytes were read."""
    for text in texts:
        bar.update(texts.bytes_read - bar.n)
        yield text


def _too_long(truncate: bool, chunk: bool) -> Literal["error", "truncate", "chunk"]:
    if truncate and chunk:
        raise click.UsageError("--truncate and --chunk exclude each other: pass one")
    return "truncate" if truncate else "chunk" if chunk else "error"
