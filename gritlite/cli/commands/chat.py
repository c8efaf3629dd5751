"""`gritlite chat`: one answer for a prompt or a pipe, or a session at the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.options import load, model_options

if TYPE_CHECKING:
    from gritlite.cli.shared.respondents import Respondent
    from gritlite.runtime.model import GritLM


@click.command()
@model_options
@click.option("--context-length", type=click.IntRange(min=1), help="Tokens that a chat can hold.")
@click.option(
    "--store",
    "store_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Answer from the passages of this store that suit each message.",
)
@click.option("--system", default="", metavar="TEXT", help="The system message.")
@click.option("--prompt", metavar="TEXT", help="Answer this and end.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Most tokens of an answer.")
@click.option("--temperature", type=float, help="Randomness; 0 always takes the likeliest token.")
@click.option("--top-k", type=int, help="Choose among so many likeliest tokens; 0 among all.")
@click.option("--top-p", type=float, help="Choose among tokens of so much probability together.")
@click.option("--min-p", type=float, help="Leave out tokens below this share of the likeliest.")
@click.option("--repeat-penalty", type=float, help="Over 1 makes repetitions less likely.")
@click.option("--seed", type=int, help="Makes a random answer repeatable.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; repeatable.")
@click.option(
    "--grammar", type=click.Path(path_type=Path), help="File with a GBNF grammar of the answer."
)
@click.option(
    "--json-schema", type=click.Path(path_type=Path), help="File with a JSON schema of the answer."
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
    """Talk with a model.

    At a terminal a session begins; /help shows its commands. With --prompt, or when
    text is piped in, one answer goes to standard output and nothing else. With both,
    the prompt comes first and the piped text after an empty line.
    """
    options = {name: value for name, value in sampling.items() if value is not None}
    options |= _constraint(grammar, json_schema)
    message = _one_message(prompt)
    with (
        load(
            model,
            verbose=verbose,
            threads=threads,
            gpu_layers=gpu_layers,
            context_length=context_length,
        ) as loaded,
        _respondent(loaded, store_path, options) as respondent,
    ):
        from gritlite.cli.shared.session import Session

        session = Session(system)
        if message is None:
            from gritlite.cli.shared.terminal import Terminal

            Terminal(loaded, session, respondent).run()
            return
        from gritlite.cli.shared.answers import say_how_it_ended, show

        session.ask(message)
        with respondent.answer(session.messages) as answer:
            show(answer)
        if sources := respondent.sources():
            click.echo(sources)
        say_how_it_ended(answer, loaded.context_length)


@contextmanager
def _respondent(
    model: "GritLM", store_path: Path | None, options: dict[str, Any]
) -> Iterator["Respondent"]:
    from gritlite.cli.shared.respondents import ModelRespondent, StoreRespondent

    if store_path is None:
        yield ModelRespondent(model, options)
        return
    from gritlite.rag.store import Store

    with Store.open(store_path, model, create=False) as store:
        yield StoreRespondent(store, options)


def _constraint(grammar: Path | None, json_schema: Path | None) -> dict[str, str]:
    from gritlite.cli.shared.text_input import read_text

    if grammar and json_schema:
        raise click.UsageError("--grammar and --json-schema exclude each other: pass one")
    if grammar:
        return {"grammar": read_text(grammar)}
    return {"json_schema": read_text(json_schema)} if json_schema else {}


def _one_message(prompt: str | None) -> str | None:
    """The message of a single answer; None when a person sits at the terminal."""
    from gritlite.cli.shared.text_input import read_standard_input

    piped = "" if sys.stdin.isatty() else read_standard_input().strip("\r\n")
    if prompt is None and sys.stdin.isatty():
        return None
    message = "\n\n".join(part for part in (prompt, piped) if part)
    if not message:
        raise click.UsageError("there is nothing to answer: pass --prompt, or pipe a text in")
    return message
