"""A session of `gritlite chat` at the terminal: the user's lines and commands, answers, notices.

The messages are kept by `chat_session`; answers come from `chat_respondents`.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.commands.chat_respondents import Respondent
from gritlite.cli.commands.chat_session import Session
from gritlite.cli.shared.advice import advised_message
from gritlite.cli.shared.answers import print_answer, print_cut_notice, print_dropped_notice
from gritlite.cli.shared.console import describe_os_error
from gritlite.cli.shared.interrupts import cancel_on_interrupt
from gritlite.cli.shared.notices import print_notice
from gritlite.errors import GritLiteError, OutputExistsError, UsageError
from gritlite.system.files import atomic_write
from gritlite.system.textfiles import read_text

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM

HELP = """\
/system TEXT   set the system message; without TEXT, show it
/reset         remove all messages but the system message
/save FILE     write the messages as JSON; /save! replaces an existing file
/load FILE     replace the messages with those of such a file
/help          show this help
/quit          end the chat, as Ctrl-D does
Ctrl-C stops an answer. To begin a message with /, type a space before it."""


class Terminal:
    """A chat between a user at a terminal and a respondent that runs `model`."""

    def __init__(self, model: "GritLM", session: Session, respondent: Respondent) -> None:
        self._model = model
        self._session = session
        self._respondent = respondent
        self._dropped = 0
        self._running = True
        self._commands: Mapping[str, Callable[[str], None]] = {
            "/system": self._system,
            "/reset": self._reset,
            "/save": self._save,
            "/save!": self._replace,
            "/load": self._load,
            "/help": lambda _: click.echo(HELP),
            "/quit": self._quit,
        }

    def run(self) -> None:
        """Read and answer lines until the end. An error never ends the session."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() editing and history
        print_notice(f"{self._model.path.name}; /help lists the commands")
        while self._running:
            try:
                self._handle(input("> "))
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
                print_notice("/quit or Ctrl-D ends the chat")
            except UnicodeDecodeError:
                print_notice("error: that line was not valid UTF-8")
            except GritLiteError as error:
                print_notice(f"error: {' '.join(advised_message(error).split())}")
            except BrokenPipeError:
                raise
            except OSError as error:
                print_notice(f"error: {describe_os_error(error)}")

    def _handle(self, line: str) -> None:
        if not line.startswith("/"):
            if line.strip():
                self._ask(line)
            return
        name, _, argument = line.partition(" ")
        if name not in self._commands:
            raise UsageError(f"there is no command {name}: /help lists them")
        self._commands[name](argument.strip())

    def _ask(self, text: str) -> None:
        session = self._session
        session.ask(text)
        answered = False
        try:
            with self._respondent.answer(session.messages) as answer, cancel_on_interrupt(answer):
                print_answer(answer)
            stopped = answer.finish_reason == "cancelled"
            answered = bool(answer.text) or not stopped
        finally:
            if not answered:
                session.withdraw()
        if answered:
            session.answer(answer.text)
            if sources := self._respondent.sources():
                click.echo(sources)
        if stopped:
            print_notice(
                "stopped"
                if answered
                else "stopped before the answer began: the question is removed"
            )
        if answer.dropped > self._dropped:
            print_dropped_notice(answer.dropped, self._model.context_length)
        self._dropped = answer.dropped
        print_cut_notice(answer, self._model.context_length)

    def _system(self, text: str) -> None:
        if text:
            self._session.system = text
        else:
            print_notice(self._session.system or "there is no system message")

    def _reset(self, _: str) -> None:
        self._session.reset()
        self._dropped = 0

    def _save(self, name: str, *, force: bool = False) -> None:
        path = _path(name)
        try:
            with atomic_write(path, force=force) as file:
                file.write(self._session.to_json().encode())
        except OutputExistsError as error:
            raise UsageError(f"{path} exists already: /save! replaces it") from error
        print_notice(f"{len(self._session.messages)} messages written to {path}")

    def _replace(self, name: str) -> None:
        self._save(name, force=True)

    def _load(self, name: str) -> None:
        path = _path(name)
        text = read_text(path)
        try:
            self._session.load_json(text)
        except GritLiteError as error:
            raise type(error)(f"{path}: {error}") from error
        self._dropped = 0
        print_notice(f"{len(self._session.messages)} messages loaded from {path}")

    def _quit(self, _: str) -> None:
        self._running = False


def _path(name: str) -> Path:
    if not name:
        raise UsageError("name a file after the command")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{name}: there is no such home folder") from error
