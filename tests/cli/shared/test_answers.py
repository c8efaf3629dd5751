import io
import sys

import pytest

from gritlite.cli.shared.answers import print_answer, print_dropped_notice

PIECES = ["red \x1b[31m", "\x9b2J\x7f\r", "tab\t line\n", "end"]


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
    print_answer(iter(PIECES))
    assert screen.shown == shown


def test_what_a_screen_cannot_show_is_a_question_mark(monkeypatch):
    screen = Screen("latin-1", True)
    monkeypatch.setattr(sys, "stdout", screen)
    print_answer(iter(["ä €"]))
    assert screen.shown == "ä ?\n"


@pytest.mark.parametrize(
    ("count", "said"), [(1, "oldest message was"), (4, "oldest 4 messages were")]
)
def test_dropped_messages_are_counted(capsys, count, said):
    print_dropped_notice(count, 4096)
    assert f"the context of 4,096 tokens is full: the {said} left out" in capsys.readouterr().err
