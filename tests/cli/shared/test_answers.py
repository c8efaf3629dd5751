import io
import sys
import time
from types import SimpleNamespace

import pytest

from gritlite.cli.shared import answers
from gritlite.cli.shared.answers import print_answer, print_dropped_notice

MODEL = SimpleNamespace(evaluated=0, context_length=4096, longest_context=8192)
PIECES = ["red \x1b[31m", "\x9b2J\x7f\r", "tab\t line\n", "end"]


class FakeAnswer:
    """Pieces of text, like an `Answer`'s."""

    new_tokens = 0

    def __init__(self, pieces):
        self._pieces = iter(pieces)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._pieces)


class Screen(io.TextIOWrapper):
    def __init__(self, encoding, terminal):
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    @property
    def shown(self):
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize(
    ("terminal", "shown"),
    [
        (True, "red \\x1b[31m\\x9b2J\\x7f\\x0dtab\t line\nend\n"),
        (False, "red \x1b[31m\x9b2J\x7f\rtab\t line\nend\n"),
    ],
)
def test_an_answer_cannot_drive_the_terminal(monkeypatch, terminal, shown):
    screen = Screen("utf-8", terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    print_answer(FakeAnswer(PIECES), MODEL)
    assert screen.shown == shown


def test_what_a_screen_cannot_show_is_a_question_mark(monkeypatch):
    screen = Screen("latin-1", True)
    monkeypatch.setattr(sys, "stdout", screen)
    print_answer(FakeAnswer(["ä €"]), MODEL)
    assert screen.shown == "ä ?\n"


@pytest.mark.parametrize(
    ("count", "said"), [(1, "oldest message was"), (4, "oldest 4 messages were")]
)
def test_dropped_messages_are_counted(capsys, count, said):
    print_dropped_notice(count, MODEL)
    error = capsys.readouterr().err
    assert f"the context of 4,096 tokens is full: the {said} left out; --context-length" in error


@pytest.mark.parametrize(("terminal", "wrap"), [(True, True), (True, False), (False, True)])
def test_lines_are_broken_between_words_on_a_terminal_only(monkeypatch, terminal, wrap):
    screen = Screen("utf-8", terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(answers, "terminal_columns", lambda: 12)
    print_answer(FakeAnswer(["several wo", "rds of one ", "line"]), MODEL, wrap=wrap)
    broken = "several\nwords of one\nline\n"
    assert screen.shown == (broken if terminal and wrap else "several words of one line\n")


class SlowAnswer(FakeAnswer):
    """Reads a prompt of 1,200 tokens, during which it lets the bar be drawn."""

    new_tokens = 1200

    def __init__(self, bars):
        super().__init__([])
        self._bars = bars

    def __next__(self):
        MODEL.evaluated, end = 512, time.monotonic() + 10
        while "512/1200" not in self._bars.getvalue().replace(",", ""):
            assert time.monotonic() < end, self._bars.getvalue()
            time.sleep(0.02)
        return super().__next__()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_wait_is_shown_and_wiped_out(monkeypatch):
    screen, bars = Screen("utf-8", True), Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", bars)
    monkeypatch.setattr(answers, "_MOMENT", 0.01)
    monkeypatch.setattr(answers, "_TICK", 0.01)
    monkeypatch.setattr(MODEL, "evaluated", 0)
    course = print_answer(SlowAnswer(bars), MODEL)
    assert "reading" in bars.getvalue()
    assert bars.getvalue().rstrip("\r").endswith(" ")  # overwritten
    assert screen.shown == "\n"
    assert 0 < course.first <= course.end
    assert course.read == 1200
