"""Reading messages with Python's `input`, without a terminal."""

import builtins
import sys

from gritlite.cli.commands.chat_input import PlainReader


def test_a_draft_is_left_out_where_there_is_no_readline(monkeypatch):
    monkeypatch.setitem(sys.modules, "readline", None)
    monkeypatch.setattr(builtins, "input", lambda prompt: f"{prompt}typed")
    assert PlainReader().read("a draft") == "> typed"
