"""The file of earlier messages: private, bounded, and never in the way."""

import os
import stat
import sys

import pytest

from gritlite.cli.commands.chat_history import KEPT, History, users_history


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "history"


def test_messages_come_back_as_they_were(path):
    messages = [
        "Hello",
        "several\nlines",
        "ä € 漢 \x1b",
        '"""quoted"""',
        "half \udcff",
        "/set seed 1",
    ]
    history = History(path)
    assert history.load() == []
    for message in messages:
        history.add(message)
    assert History(path).load() == messages


def test_only_the_user_can_read_it(path):
    History(path).add("Hello")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_not_kept(path):
    History(path).add("Hello")
    History(path).add(" my password is x")
    History(path).add("long " * 20_000)
    History(None).add("Hello")
    assert History(path).load() == ["Hello"]
    assert History(None).load() == []


def test_damaged_lines_are_left_out(path):
    path.parent.mkdir()
    path.write_bytes(
        b'"first"\n{"a": 1}\n\xff\xfe\nnot json\n"half' + b"[" * 100_000 + b'\n"last"\n'
    )
    assert History(path).load() == ["first", "last"]


def test_the_file_does_not_grow_without_end(path):
    history = History(path)
    for number in range(2 * KEPT + 1):
        history.add(f"message {number}")
    expected = [f"message {number}" for number in range(KEPT + 1, 2 * KEPT + 1)]
    assert history.load() == expected
    assert len(path.read_bytes().splitlines()) == KEPT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert history.load() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="another convention holds")
def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("GRITLITE_HISTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert users_history().path == tmp_path / ".local/state/gritlite/chat_history.jsonl"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert users_history().path == tmp_path / "state/gritlite/chat_history.jsonl"
    monkeypatch.setenv("GRITLITE_HISTORY", "~/mine")
    assert users_history().path == tmp_path / "mine"
    monkeypatch.setenv("GRITLITE_HISTORY", "")
    assert users_history().path is None


def test_a_user_without_a_home(monkeypatch):
    monkeypatch.delenv("GRITLITE_HISTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert users_history().path is None
