"""The line editor of `gritlite chat`, by prompt_toolkit: editing, history, Tab, pasting.

Imported only where a chat begins at a terminal.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import History as EditorHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.shortcuts import CompleteStyle

from gritlite.cli.commands.chat_history import History
from gritlite.cli.commands.chat_input import CONTINUATION, PROMPT, Complete, is_open, unechoed
from gritlite.cli.shared.console import describe_os_error
from gritlite.cli.shared.notices import print_notice


class Editor:
    """Reads messages. Enter ends one, unless triple quotes are open; Alt-Enter breaks its line."""

    def __init__(self, history: History, complete: Complete) -> None:
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=Condition(self._is_open),
            prompt_continuation=_continuation,
            history=_Kept(history),
            completer=_Words(complete),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            key_bindings=_keys(),
            enable_open_in_editor=True,
            enable_suspend=True,
            tempfile_suffix=".md",
            output=_output(),
        )

    def _is_open(self) -> bool:
        return is_open(self._session.default_buffer.text)

    def read(self, draft: str = "") -> str:
        """The next message, with a draft to be edited."""
        return self._session.prompt(default=draft)

    def deaf(self) -> contextlib.AbstractContextManager[None]:
        """Within the block, what is typed is not shown; the next `read` gets it."""
        return unechoed(by_line=False)


def _continuation(_width: int, _line: int, wraps: int) -> str:
    """What stands before a further line, unless the terminal broke it."""
    return "" if wraps else CONTINUATION


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _output() -> Output | None:
    """Standard output, without questions about the cursor's position.

    Not every terminal answers them, and an answer could come between typed words. Only menus
    below the line need them, and there are none.
    """
    if sys.platform == "win32":
        return None
    from prompt_toolkit.output.vt100 import Vt100_Output

    class Terminal(Vt100_Output):
        @property
        def responds_to_cpr(self) -> bool:
            return False

    return Terminal.from_pty(sys.stdout, term=os.environ.get("TERM"))


class _Words(Completer):
    """Completes the last word of a line."""

    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        begun = document.text_before_cursor
        word = begun.rpartition(" ")[2]
        for found in self._complete(begun):
            yield Completion(found, start_position=-len(word))


class _Kept(EditorHistory):
    """Earlier messages for the arrow keys, from the file and to it."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._earlier: list[str] = []
        with self._told():
            self._earlier = history.load()

    def load_history_strings(self) -> Iterator[str]:
        """The messages of earlier chats, the newest first."""
        return reversed(self._earlier)

    def store_string(self, string: str) -> None:
        """Keep a message."""
        with self._told():
            self._history.add(string)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say once that the history cannot be kept, and go on without it."""
        try:
            yield
        except OSError as error:
            self._history = History(None)
            print_notice(f"what you type is not remembered: {describe_os_error(error)}")
