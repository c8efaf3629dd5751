"""The commands of a chat session, which begin with a slash, and their completion by Tab."""

import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gritlite.cli.commands import chat_settings
from gritlite.cli.commands.chat_conversation import Conversation
from gritlite.cli.commands.chat_input import unquoted
from gritlite.cli.commands.chat_settings import Settings
from gritlite.cli.shared.notices import print_notice
from gritlite.cli.shared.tables import aligned
from gritlite.cli.shared.word_wrap import wrapped
from gritlite.errors import GritLiteError, OutputExistsError, UsageError
from gritlite.system.files import atomic_write
from gritlite.system.locate import pulled_models
from gritlite.system.textfiles import read_text
from gritlite.system.wording import counted

_USAGE = (
    ("/retry", "answer the last question again"),
    ("/edit", "edit the last question and ask it in its place"),
    ("/set NAME VALUE", "set a sampling option; /set shows them all"),
    ("/stats", "show the last answer's speed, and how full the context is"),
    ("/model NAME", "go on with another model; without NAME, show this one"),
    ("/system TEXT", "set the system message; without TEXT, show it"),
    ("/reset, /clear", "remove all messages but the system message"),
    ("/save FILE", "write the messages as JSON; /save! replaces an existing file"),
    ("/load FILE", "replace the messages with those of such a file"),
    ("/help, /?", "show this help"),
    ("/quit, /bye, exit", "end the chat, as Ctrl-D does"),
)
_NOTES = (
    'Ctrl-C stops an answer. A message in triple quotes (""") can have several lines, and so can '
    "pasted text. Tab completes commands. To begin a message with /, type a space before it."
)
_SYNONYMS = {
    "/clear": "/reset",
    "/?": "/help",
    "/bye": "/quit",
    "/exit": "/quit",
    "exit": "/quit",
    "quit": "/quit",
}
NAMES = (*(usage.partition(",")[0].split()[0] for usage, _ in _USAGE), "/save!")


@dataclass
class Plan:
    """What the session does next: end, or let a draft be edited that replaces the last question."""

    ends: bool = False
    draft: str = ""


class Commands:
    """Runs the commands of one session."""

    def __init__(self, conversation: Conversation, settings: Settings) -> None:
        self._conversation = conversation
        self._session = conversation.session
        self._settings = settings
        self._plan = Plan()
        self._actions: Mapping[str, Callable[[str], None]] = {
            "/retry": self._retry,
            "/edit": self._edit,
            "/set": self._set,
            "/stats": self._stats,
            "/model": self._model,
            "/system": self._system,
            "/reset": self._reset,
            "/save": self._save,
            "/save!": self._replace,
            "/load": self._load,
            "/help": lambda _: click.echo(wrapped(f"{aligned(_USAGE)}\n{_NOTES}", sys.stdout)),
            "/quit": self._quit,
        }

    def takes(self, text: str) -> bool:
        """Whether a text is a command, or a mistyped one, and not a message."""
        name, _, rest = text.partition(" ")
        return (
            name in self._actions
            or (name in _SYNONYMS and not rest)
            or (text.startswith("/") and "\n" not in text)
        )

    def run(self, text: str) -> Plan:
        """Run a command. Raises UsageError for an unknown one, and what the command raises."""
        name, _, argument = text.partition(" ")
        name = _SYNONYMS.get(name, name)
        if name not in self._actions:
            found = difflib.get_close_matches(name, [*self._actions, *_SYNONYMS], n=1)
            meant = f" (did you mean {found[0]}?)" if found else ""
            raise UsageError(f"there is no command {name}{meant}: /help lists them")
        self._plan = Plan()
        self._actions[name](unquoted(argument).strip())
        return self._plan

    def _retry(self, _: str) -> None:
        question = self._conversation.last_question()
        if self._settings.is_greedy:
            print_notice("the temperature is 0, so the answer will be the same: /set temperature")
        self._conversation.ask_again(question)

    def _edit(self, _: str) -> None:
        self._plan = Plan(draft=self._conversation.last_question())

    def _set(self, argument: str) -> None:
        name, _, value = argument.partition(" ")
        if value:
            self._settings.set(name, value.strip())
            name = name.replace("-", "_")
        rows = dict(self._settings.rows())
        if name and name not in rows:
            raise UsageError(f"there is no option {name}: expected one of {', '.join(rows)}")
        click.echo(aligned([(name, rows[name])] if name else list(rows.items())))

    def _stats(self, _: str) -> None:
        if self._conversation.last is None:
            raise UsageError("no question has been answered yet")
        click.echo(aligned(list(self._conversation.last.rows())))

    def _model(self, name: str) -> None:
        chat_model = self._conversation.chat_model
        if name:
            chat_model.exchange(name)
        print_notice(chat_model.title)

    def _system(self, text: str) -> None:
        if text:
            self._session.system = text
        else:
            print_notice(self._session.system or "there is no system message")

    def _reset(self, _: str) -> None:
        self._session.reset()
        self._conversation.forget()

    def _save(self, name: str, *, force: bool = False) -> None:
        path = _path(name)
        try:
            with atomic_write(path, force=force) as file:
                file.write(self._session.to_json().encode())
        except OutputExistsError as error:
            raise UsageError(f"{path} exists already: /save! replaces it") from error
        print_notice(f"{counted(len(self._session.messages), 'message')} written to {path}")

    def _replace(self, name: str) -> None:
        self._save(name, force=True)

    def _load(self, name: str) -> None:
        path = _path(name)
        text = read_text(path)
        try:
            self._session.load_json(text)
        except GritLiteError as error:
            raise type(error)(f"{path}: {error}") from error
        self._conversation.forget()
        print_notice(f"{counted(len(self._session.messages), 'message')} loaded from {path}")

    def _quit(self, _: str) -> None:
        self._plan = Plan(ends=True)


def _path(name: str) -> Path:
    if not name:
        raise UsageError("name a file after the command")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{name}: there is no such home folder") from error


def complete(begun: str) -> Sequence[str]:
    """What the last word of a line can become at Tab."""
    command, space, argument = begun.partition(" ")
    if not space:
        return [name for name in NAMES if command and name.startswith(command)]
    if command == "/set":
        return [name for name in chat_settings.NAMES if name.startswith(argument)]
    if command == "/model":
        return [*(name for name in pulled_models() if name.startswith(argument)), *_files(argument)]
    return _files(argument) if command in ("/save", "/save!", "/load") else []


def _files(begun: str) -> list[str]:
    folder, name = os.path.split(begun)
    try:
        entries = sorted(os.scandir(Path(folder).expanduser()), key=lambda entry: entry.name)
    except (OSError, ValueError, RuntimeError):
        return []
    return [
        os.path.join(folder, entry.name) + ("/" if entry.is_dir() else "")
        for entry in entries
        if entry.name.startswith(name) and (name or not entry.name.startswith("."))
    ]
