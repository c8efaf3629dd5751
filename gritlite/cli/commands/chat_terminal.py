"""A session of `gritlite chat` at the terminal: messages and commands until the end.

What is typed comes from `chat_input`, answers from `chat_conversation`.
"""

import click

from gritlite.cli.commands.chat_commands import Commands
from gritlite.cli.commands.chat_conversation import Conversation
from gritlite.cli.commands.chat_input import Reader, unquoted
from gritlite.cli.shared.advice import advised_message
from gritlite.cli.shared.console import describe_os_error
from gritlite.cli.shared.notices import print_notice
from gritlite.errors import GritLiteError


class Terminal:
    """A chat with a user at a terminal."""

    def __init__(self, conversation: Conversation, commands: Commands, reader: Reader) -> None:
        self._conversation = conversation
        self._commands = commands
        self._reader = reader
        self._draft = ""  # of a question that replaces the last one
        self._running = True

    def run(self) -> None:
        """Read and answer messages until the end. An error never ends the session."""
        print_notice(f"{self._conversation.chat_model.title}; /help lists the commands")
        while self._running:
            try:
                self._turn()
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

    def _turn(self) -> None:
        draft, self._draft = self._draft, ""
        text = self._reader.read(draft)
        with self._reader.deaf():
            if self._commands.takes(text):
                plan = self._commands.run(text)
                self._running, self._draft = not plan.ends, plan.draft
            elif not (message := unquoted(text)).strip():
                return
            elif draft:
                self._conversation.ask_again(message)
            else:
                self._conversation.ask(message)
