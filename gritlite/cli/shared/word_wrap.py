"""Line breaks between words, in text that streams to a terminal.

A terminal breaks lines in the middle of words. Here the last word is held back until it
ends, so that it can begin a new line. The module writes nothing itself.
"""

import os
import sys
from collections.abc import Callable
from typing import TextIO

_TAB = 8
_FENCES = ("```", "~~~")
_LONGEST_MARK = 3


class WordWrap:
    """Breaks the lines of one text, piece by piece.

    `columns` returns the terminal's width at this moment; 0 means that it is unknown, and
    breaks no line. Code blocks and tables keep their lines. Words of scripts that are
    written without spaces (wide characters) are broken by the terminal, anywhere.
    """

    def __init__(self, columns: Callable[[], int]) -> None:
        self._columns = columns
        self._word = ""  # held back
        self._spaces = ""  # before it, held back too: they end a line if the word begins one
        self._start = ""  # of the line: it tells an indentation, a table or a fence
        self._column = 0
        self._in_word = False  # its beginning was written, as the line begins with it
        self._in_code = False

    def feed(self, piece: str) -> str:
        """Take the next piece of the text; return what can be written."""
        return "".join(map(self._take, piece))

    def finish(self) -> str:
        """Return what was held back."""
        return self._end_word() + self._spaces

    def _take(self, character: str) -> str:
        if character == "\n":
            return self._end_line()
        if len(self._start.lstrip()) < _LONGEST_MARK:
            self._start += character
        if self._in_code or self._start.startswith("|"):
            return character
        if character == " ":
            return self._end_word() + self._space()
        if character == "\t" or width(character) > 1:
            return self._end_word() + self._write(character, breaks=bool(self._spaces))
        if self._in_word or not (self._word or width(character)):
            return self._write(character)
        self._word += character
        if self._column and self._fits(self._word):
            return ""
        written, self._in_word = self._end_word(), True
        return written

    def _space(self) -> str:
        if self._start.isspace():  # an indentation
            return self._write(" ")
        self._spaces += " "
        return ""

    def _end_line(self) -> str:
        written = self._end_word()
        if self._start.lstrip().startswith(_FENCES):
            self._in_code = not self._in_code
        self._spaces = self._start = ""
        self._column = 0
        return written + "\n"

    def _end_word(self) -> str:
        """Write the word that was held back, on a new line if it does not fit."""
        word, self._word = self._word, ""
        self._in_word = False
        return self._write(word, breaks=self._column > 0) if word else ""

    def _fits(self, text: str) -> bool:
        columns = self._columns()
        return not columns or self._column + len(self._spaces) + width(text) <= columns

    def _write(self, text: str, *, breaks: bool = False) -> str:
        """Write a text after the spaces before it; `breaks`: or on a new line if it must be."""
        before = self._spaces
        if breaks and not self._fits(text):
            before, self._column = "\n", 0
        self._spaces = ""
        self._column += len(before.strip("\n"))
        self._column += _TAB - self._column % _TAB if text == "\t" else width(text)
        columns = self._columns()
        if columns and self._column > columns:  # the terminal broke the line
            self._column %= columns
        return before + text


def width(text: str) -> int:
    """How many columns a text takes: 2 for a wide character or an emoji, 0 for an accent."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)


def terminal_size(stream: TextIO) -> os.terminal_size:
    """How many columns and rows the terminal behind a stream has now.

    0 each if it does not say so, and for what is no terminal.
    """
    try:
        return os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return os.terminal_size((0, 0))


def terminal_columns(stream: TextIO | None = None) -> int:
    """The width of the terminal behind a stream (standard output) now, 0 as in `terminal_size`."""
    return terminal_size(stream or sys.stdout).columns


def wrapped(text: str, stream: TextIO) -> str:
    """A text whose lines are broken between words if a stream is a terminal."""
    lines = WordWrap(lambda: terminal_columns(stream))
    return lines.feed(text) + lines.finish()
