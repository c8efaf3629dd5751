"""`gritlite chat`: one answer to a prompt or a pipe, or a session at the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.options import load_model, model_options
from gritlite.errors import FormatError

if TYPE_CHECKING:
    from gritlite.cli.commands.chat_respondents import Respondent
    from gritlite.cli.commands.chat_session import Session
    from gritlite.runtime.model import GritLM


@click.command()
@model_options
@click.option("--context-length", type=click.IntRange(min=1), help="Size of the context in tokens.")
@click.option(
    "--store",
    "store_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Answer from the passages of this store that match each message.",
)
@click.option("--system", default="", metavar="TEXT", help="The system message.")
@click.option("--prompt", metavar="TEXT", help="Answer this prompt and exit.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Most tokens of an answer.")
@click.option("--temperature", type=float, help="Randomness; 0 always takes the likeliest token.")
@click.option("--top-k", type=int, help="Sample from this many of the likeliest tokens; 0: all.")
@click.option(
    "--top-p", type=float, help="Sample from the likeliest tokens of this total probability."
)
@click.option("--min-p", type=float, help="Leave out tokens below this share of the likeliest.")
@click.option("--repeat-penalty", type=float, help="Values over 1 make repetition less likely.")
@click.option("--seed", type=int, help="Makes a random answer repeatable.")
@click.option("--stop", multiple=True, metavar="TEXT", help="Stop before this text; repeatable.")
@click.option(
    "--grammar", type=click.Path(path_type=Path), help="File with a GBNF grammar for the answer."
)
@click.option(
    "--json-schema", type=click.Path(path_type=Path), help="File with a JSON schema for the answer."
)
def command(
    model: str,
    threads: int | None,
    gpu_layers: int | str,
    verbose: bool,
    context_length: int | None,
    store_path: Path | None,
    system: str,
    prompt: str | None,
    grammar: Path | None,
    json_schema: Path | None,
    **sampling: Any,
) -> None:
    """Chat with a model.

    At a terminal this starts a session; /help lists its commands. With --prompt, or with
    text piped in, one answer goes to standard output and nothing else. With both, the
    piped text follows the prompt after an empty line.
    """
    options = {name: value for name, value in sampling.items() if value is not None}
    options |= _constraint(grammar, json_schema)
    message = _single_message(prompt)
    with (
        load_model(
            model,
            verbose=verbose,
            threads=threads,
            gpu_layers=gpu_layers,
            context_length=context_length,
        ) as loaded,
        _respondent(loaded, store_path, options) as respondent,
    ):
        from gritlite.cli.commands.chat_session import Session

        session = Session(system)
        if message is None:
            from gritlite.cli.commands.chat_terminal import Terminal

            Terminal(loaded, session, respondent).run()
        else:
            session.ask(message)
            _print_single_answer(loaded, session, respondent)


def _print_single_answer(model: "GritLM", session: "Session", respondent: "Respondent") -> None:
    from gritlite.cli.shared.answers import print_answer, print_cut_notice

    with respondent.answer(session.messages) as answer:
        print_answer(answer)
    if sources := respondent.sources():
        click.echo(sources)
    print_cut_notice(answer, model.context_length)


@contextmanager
def _respondent(
    model: "GritLM", store_path: Path | None, options: dict[str, Any]
) -> Iterator["Respondent"]:
    from gritlite.cli.commands.chat_respondents import ModelRespondent, StoreRespondent

    if store_path is None:
        yield ModelRespondent(model, options)
        return
    from gritlite.rag.store import Store

    with Store.open(store_path, model, create=False) as store:
        yield StoreRespondent(store, options)


def _constraint(grammar: Path | None, json_schema: Path | None) -> dict[str, str]:
    """The option that constrains the answer's form, if there is one."""
    from gritlite.system.reading import MAX_PROMPT_BYTES
    from gritlite.system.textfiles import read_text

    if grammar and json_schema:
        raise click.UsageError("--grammar and --json-schema exclude each other: pass one")
    if grammar:
        return {"grammar": read_text(grammar, MAX_PROMPT_BYTES)}
    return {"json_schema": read_text(json_schema, MAX_PROMPT_BYTES)} if json_schema else {}


def _single_message(prompt: str | None) -> str | None:
    """The message that gets a single answer; None for a session at the terminal."""
    piped = "" if sys.stdin.isatty() else _read_standard_input().strip("\r\n")
    if prompt is None and sys.stdin.isatty():
        return None
    message = "\n\n".join(part for part in (prompt, piped) if part)
    if not message:
        raise click.UsageError("there is nothing to answer: pass --prompt, or pipe a text in")
    return message


def _read_standard_input() -> str:
    from gritlite.system.reading import MAX_PROMPT_BYTES, read_stream

    try:
        data = read_stream(sys.stdin.buffer, "standard input", MAX_PROMPT_BYTES)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"standard input is not valid UTF-8: byte {error.object[error.start]:#04x} at position "
            f"{error.start + 1}: convert it to UTF-8"
        ) from error
