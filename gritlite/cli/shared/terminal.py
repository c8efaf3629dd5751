"""The terminal of `gritlite chat`: lines and commands in, answers and notices out.

What is said is kept by `session`; what an answer is, by the runtime.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.answers import (
    interrupt_cancels,
    say_how_it_ended,
    show,
    tell,
    tell_dropped,
)
from gritlite.cli.shared.console import system_message
from gritlite.cli.shared.respondents import Respondent
from gritlite.cli.shared.session import Session
from gritlite.cli.shared.text_input import read_text
from gritlite.errors import GritLiteError, OutputExistsError, UsageError
from gritlite.system.files import replacing

if TYPE_CHECKING:
    from gritlite.runtime.model import GritLM

HELP = """\
/system TEXT   set the system message; without TEXT show it
/reset         forget the messages, keep the system message
/save FILE     write the messages as JSON; /save! replaces a file
/load FILE     take the messages of such a file
/help          show this
/quit          end, as Ctrl-D does
Ctrl-C stops an answer. A space before a / makes it a message."""


class Terminal:
    """A chat between a person at a terminal and a respondent; `model` is the respondent's."""

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
        """Read lines until the end. An error ends one line's work, never the session."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() editing and history
        tell(f"{self._model.path.name}; /help shows the commands")
        while self._running:
            try:
                self._obey(input("> "))
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
                tell("/quit or Ctrl-D ends the chat")
            except UnicodeDecodeError:
                tell("error: that line was not valid UTF-8")
            except GritLiteError as error:
                tell(f"error: {' '.join(str(error).split())}")
            except BrokenPipeError:
                raise
            except OSError as error:
                tell(f"error: {system_message(error)}")

    def _obey(self, line: str) -> None:
        if not line.startswith("/"):
            if line.strip():
                self._ask(line)
            return
        name, _, argument = line.partition(" ")
        if name not in self._commands:
            raise UsageError(f"there is no command {name}: /help shows them")
        self._commands[name](argument.strip())

    def _ask(self, text: str) -> None:
        session = self._session
        session.ask(text)
        answered = False
        try:
            with self._respondent.answer(session.messages) as answer, interrupt_cancels(answer):
                show(answer)
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
            tell("stopped" if answered else "stopped before it began: the question is taken back")
        if answer.dropped > self._dropped:
            tell_dropped(answer.dropped, self._model.context_length)
        self._dropped = answer.dropped
        say_how_it_ended(answer, self._model.context_length)

    def _system(self, text: str) -> None:
        if text:
            self._session.system = text
        else:
            tell(self._session.system or "there is no system message")

    def _reset(self, _: str) -> None:
        self._session.reset()
        self._dropped = 0

    def _save(self, name: str, *, force: bool = False) -> None:
        path = _path(name)
        try:
            with replacing(path, force=force) as file:
                file.write(self._session.to_json().encode())
        except OutputExistsError as error:
            raise UsageError(f"{path} exists: /save! replaces it") from error
        tell(f"{len(self._session.messages)} messages are in {path}")

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
        tell(f"{len(self._session.messages)} messages are here from {path}")

    def _quit(self, _: str) -> None:
        self._running = False


def _path(name: str) -> Path:
    if not name:
        raise UsageError("name a file behind the command")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{name}: there is no such home folder") from error
