"""Reading what the user types in `gritlite chat`: messages of one or several lines.

A good terminal gets the line editor of `chat_editor`; others, and those without the package
prompt_toolkit, get Python's `input`. The module knows neither commands nor models.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Protocol

from gritlite.cli.commands.chat_history import History

PROMPT, CONTINUATION = "> ", ". "
QUOTES = '"""'
_PASTE_ON, _PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"

Complete = Callable[[str], Sequence[str]]  # a line's beginning -> what its last word can become


class Reader(Protocol):
    """Reads messages from the terminal."""

    def read(self, draft: str = "") -> str:
        """The next message, with a draft to be edited.

        Raises EOFError at Ctrl-D and KeyboardInterrupt at Ctrl-C.
        """

    def deaf(self) -> contextlib.AbstractContextManager[None]:
        """Within the block, what is typed is not shown; the next `read` gets it."""


def open_reader(history: History, complete: Complete) -> Reader:
    """The best reader for this terminal."""
    # also what prompt_toolkit takes for a terminal without cursor control
    if sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("", "dumb", "unknown"):
        with contextlib.suppress(ImportError):
            from gritlite.cli.commands.chat_editor import Editor

            return Editor(history, complete)
    return PlainReader()


class PlainReader:
    """Reads with Python's `input`, which edits lines where there is readline."""

    def __init__(self) -> None:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() editing and the lines of this session

    def read(self, draft: str = "") -> str:
        """The next message; a text in triple quotes has several lines."""
        with _draft(draft):
            text = input(PROMPT)
        while is_open(text):
            text += "\n" + input(CONTINUATION)
        return text

    def deaf(self) -> contextlib.AbstractContextManager[None]:
        """Within the block, what is typed is not shown; the next `read` gets it."""
        return unechoed(by_line=True)


@contextlib.contextmanager
def _draft(text: str) -> Iterator[None]:
    """Put a text on the line that is read within the block, where there is readline."""
    if not text or find_spec("readline") is None:
        yield
        return
    import readline

    readline.set_startup_hook(lambda: readline.insert_text(text))
    try:
        yield
    finally:
        readline.set_startup_hook(None)


def is_open(text: str) -> bool:
    """Whether a text, or a command's argument, begins with triple quotes that are not closed."""
    quoted = text.strip()
    if quoted.startswith("/"):
        quoted = quoted.partition(" ")[2].strip()
    closed = quoted.endswith(QUOTES) and len(quoted) >= 2 * len(QUOTES)
    return quoted.startswith(QUOTES) and not closed


def unquoted(text: str) -> str:
    """A text without the triple quotes around it, and the line ends next to them."""
    quoted = text.strip()
    if not quoted.startswith(QUOTES) or is_open(quoted):
        return text
    inner = quoted[len(QUOTES) : -len(QUOTES)]
    return inner.removeprefix("\n").removesuffix("\n")


@contextlib.contextmanager
def unechoed(*, by_line: bool) -> Iterator[None]:
    """Stop the terminal from showing what is typed; it stays there to be read afterwards.

    The terminal keeps it in lines if `by_line`, and else key by key, pasted text marked as such.
    """
    try:
        import termios
    except ImportError:  # Windows, whose console shows what a program reads only
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    changed = termios.tcgetattr(keyboard)
    changed[3] &= ~(termios.ECHO if by_line else termios.ECHO | termios.ICANON)
    termios.tcsetattr(keyboard, termios.TCSANOW, changed)
    sys.stdout.write("" if by_line else _PASTE_ON)
    sys.stdout.flush()
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
        sys.stdout.write("" if by_line else _PASTE_OFF)
        sys.stdout.flush()
