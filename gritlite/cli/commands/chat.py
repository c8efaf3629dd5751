"""`gritlite chat`: one answer to a prompt or a pipe, or a session at the terminal."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.engines import engine_options
from gritlite.cli.shared.options import context_option, load_model, model_options
from gritlite.cli.shared.pulling import locate_or_pull
from gritlite.errors import FormatError

if TYPE_CHECKING:
    from gritlite.cli.commands.chat_model import Load, Respond
    from gritlite.cli.commands.chat_respondents import Respondent
    from gritlite.cli.commands.chat_session import Session
    from gritlite.runtime.model import GritLM


@click.command()
@model_options
@engine_options()
@context_option
@click.option(
    "--store",
    "store_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Answer from the passages of this store that match each message.",
)
@click.option(
    "--min-score",
    type=float,
    metavar="SCORE",
    help="With --store: answer messages that no passage has this score for without passages.",
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
@click.option(
    "--history/--no-history",
    default=True,
    help="Whether a session remembers what is typed for the next one (docs/chat.md).",
)
def command(
    model: str,
    threads: int | None,
    gpu_layers: int | str,
    verbose: bool,
    engine: str,
    precision: str | None,
    context_length: int | None,
    store_path: Path | None,
    min_score: float | None,
    system: str,
    prompt: str | None,
    grammar: Path | None,
    json_schema: Path | None,
    history: bool,
    **sampling: Any,
) -> None:
    """Chat with a model.

    At a terminal this starts a session; /help lists its commands. With --prompt, or with
    text piped in, one answer goes to standard output and nothing else. With both, the
    piped text follows the prompt after an empty line.
    """
    if min_score is not None and store_path is None:
        raise click.UsageError("--min-score is about the passages of a store: add --store")
    options = {name: value for name, value in sampling.items() if value is not None}
    options |= _constraint(grammar, json_schema)
    locate_or_pull(model)  # before a pipe is read, and while a terminal shows what is typed
    message = _single_message(prompt)
    load = partial(
        load_model,
        verbose=verbose,
        threads=threads,
        gpu_layers=gpu_layers,
        engine="llama" if engine == "auto" and store_path is None else engine,
        precision=precision,
        context_length=context_length,
        generates=True,
    )
    respond = partial(_respondent, store_path=store_path, min_score=min_score, options=options)
    if message is None:
        _chat_at_terminal(model, load, respond, system, options, history=history)
        return
    from gritlite.cli.commands.chat_session import Session

    session = Session(system)
    session.ask(message)
    with load(model) as loaded, respond(loaded) as respondent:
        _print_single_answer(loaded, session, respondent, wrap=_is_prose(options))


def _chat_at_terminal(
    name: str,
    load: "Load",
    respond: "Respond",
    system: str,
    options: dict[str, Any],
    *,
    history: bool,
) -> None:
    from gritlite.cli.commands.chat_commands import Commands, complete
    from gritlite.cli.commands.chat_conversation import Conversation
    from gritlite.cli.commands.chat_history import History, users_history
    from gritlite.cli.commands.chat_input import open_reader
    from gritlite.cli.commands.chat_model import ChatModel
    from gritlite.cli.commands.chat_session import Session
    from gritlite.cli.commands.chat_settings import Settings
    from gritlite.cli.commands.chat_terminal import Terminal

    reader = open_reader(users_history() if history else History(None), complete)
    with reader.deaf():
        chat_model = ChatModel(name, load, respond)
    with chat_model:
        conversation = Conversation(chat_model, Session(system), wrap=_is_prose(options))
        commands = Commands(conversation, Settings(options, chat_model.respondent.defaults))
        Terminal(conversation, commands, reader).run()


def _is_prose(options: Mapping[str, Any]) -> bool:
    """Whether an answer's lines may be broken: not those of code, whose form is given."""
    return not options.keys() & {"grammar", "json_schema"}


def _print_single_answer(
    model: "GritLM", session: "Session", respondent: "Respondent", *, wrap: bool
) -> None:
    from gritlite.cli.commands.chat_respondents import print_sources
    from gritlite.cli.shared.advice import context_advice
    from gritlite.cli.shared.answers import print_answer, print_cut_notice

    with context_advice(model), respondent.answer(session.messages) as answer:
        print_answer(answer, model, wrap=wrap, stoppable=False)
    print_sources(respondent)
    print_cut_notice(answer, model)


@contextmanager
def _respondent(
    model: "GritLM", store_path: Path | None, min_score: float | None, options: dict[str, Any]
) -> Iterator["Respondent"]:
    from gritlite.cli.commands.chat_respondents import ModelRespondent, StoreRespondent

    if store_path is None:
        yield ModelRespondent(model, options)
        return
    from gritlite.cli.shared.opening import opened_store

    with opened_store(store_path, model, for_answers=True) as store:
        yield StoreRespondent(store, options, min_score)


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
