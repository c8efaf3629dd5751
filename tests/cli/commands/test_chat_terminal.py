"""A chat at a terminal without cursor control, where lines are read with Python's `input`."""

import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from gritlite import GritLM
from gritlite.cli.commands.chat_history import History
from gritlite.cli.commands.chat_input import PlainReader, open_reader
from gritlite.rag.store import Store
from tests.rag.documents import notes

PROMPT = "> "
CTRL_C, CTRL_D = "\x03", "\x04"
LIMIT = 60  # seconds


class Screen:
    """A child process with its own terminal, driven as by pexpect."""

    def __init__(self, *arguments):
        parent, child = pty.openpty()
        size = struct.pack("4H", 50, 1000, 0, 0)  # wide, so that readline breaks no line
        fcntl.ioctl(child, termios.TIOCSWINSZ, size)

        def own_the_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        line = [sys.executable, "-m", "gritlite", "chat", "--threads", "1", *arguments]
        self.process = subprocess.Popen(
            list(map(str, line)),
            stdin=child,
            stdout=child,
            stderr=child,
            preexec_fn=own_the_terminal,
            env={**os.environ, "TERM": "dumb", "GRITLITE_HISTORY": ""},
        )
        os.close(child)
        self._parent = parent
        self._unread = ""

    def type(self, text):
        os.write(self._parent, text.encode())

    def read_to(self, text):
        """The output up to `text`."""
        end = time.monotonic() + LIMIT
        while text not in self._unread:
            ready = select.select([self._parent], [], [], max(0, end - time.monotonic()))[0]
            assert ready, f"no {text!r} in {self._unread!r}"
            try:
                data = os.read(self._parent, 65536)
            except OSError:  # the child closed its end
                raise AssertionError(f"ended without {text!r}: {self._unread!r}") from None
            self._unread += data.decode("utf-8", "replace").replace("\r\n", "\n")
        before, _, self._unread = self._unread.partition(text)
        return before

    def do(self, line):
        """Type a line a moment after the prompt; the output up to the next prompt."""
        time.sleep(0.3)
        self.type(line + "\n")
        self.read_to(line + "\n")
        return self.read_to("\n" + PROMPT) if not line.startswith("/") else self.read_to(PROMPT)

    def end(self):
        status = self.process.wait(LIMIT)
        os.close(self._parent)
        return status


@pytest.fixture
def start(tiny_path):
    screens = []

    def start(*arguments):
        screens.append(Screen("--model", tiny_path, *arguments))
        assert "/help lists the commands" in screens[-1].read_to(PROMPT)
        return screens[-1]

    yield start
    for screen in screens:
        if screen.process.poll() is None:
            screen.process.kill()
            screen.process.wait()


def saved(path):
    return json.loads(path.read_text())


def test_a_session(start, tmp_path):
    screen = start("--temperature", "0", "--max-tokens", "8", "--system", "Be brief")
    file = tmp_path / "my chat.json"

    first = screen.do("Hello there")
    second = screen.do("And again")
    assert "cut at 8 tokens" in first
    assert "stopped" not in first + second
    screen.do(f"/save {file}")
    messages = saved(file)
    roles = [message["role"] for message in messages]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    assert [message["content"] for message in messages[:2]] == ["Be brief", "Hello there"]
    assert messages[3]["content"] == "And again"
    for shown, message in ((first, messages[2]), (second, messages[4])):
        assert message["content"]
        words = re.findall(r"[a-zA-Z]{2,}", message["content"])
        assert all(word in shown for word in words)

    assert "exists already: /save! replaces it" in screen.do(f"/save {file}")
    assert "/system TEXT" in screen.do("/help")
    assert "Be brief" in screen.do("/system")
    screen.do("/system Be long")
    assert "there is no command /sytem (did you mean /system?): /help lists them" in screen.do(
        "/sytem Oh"
    )
    screen.do("/reset")
    assert "1 message written to" in screen.do(f"/save! {file}")
    assert saved(file) == [{"role": "system", "content": "Be long"}]

    file.write_text(json.dumps(messages))
    assert "5 messages loaded from" in screen.do(f"/load {file}")
    again = tmp_path / "again.json"
    screen.do(f"/save {again}")
    assert saved(again) == messages
    screen.type("/quit\n")
    assert screen.end() == 0


def test_a_place_that_cannot_be_written_ends_no_chat(start, tmp_path):
    screen = start("--max-tokens", "2")
    screen.do("Hello there")
    (tmp_path / "folder").mkdir()
    for place, words in (
        ("/proc/nowhere", "cannot write /proc/nowhere: No such file"),
        (tmp_path / ("x" * 300), "too long"),
        (tmp_path / "folder", "is a folder"),
        ("~nobody-of-this-name/x", "no such home folder"),
    ):
        for command in ("/save", "/save!", "/load"):
            said = screen.do(f"{command} {place}")
            assert "error: " in said
            if command != "/load":
                assert words in said
    screen.do(f"/save {tmp_path / 'chat.json'}")
    assert saved(tmp_path / "chat.json")[0] == {"role": "user", "content": "Hello there"}


def test_errors_end_a_line_and_not_the_session(start, tmp_path):
    screen = start("--temperature", "0", "--max-tokens", "4", "--context-length", "64")
    bad = tmp_path / "bad.json"
    bad.write_text('[{"role": "boss", "content": "a"}]')
    screen.do("Hi")
    assert "message 1 has the role 'boss'" in screen.do(f"/load {bad}")
    assert "cannot read" in screen.do(f"/load {tmp_path / 'nothing.json'}")
    assert "name a file after the command" in screen.do("/save")
    assert "does not exist" in screen.do(f"/save {tmp_path / 'no' / 'x.json'}")
    screen.type("word " * 70 + "\n")
    assert "the context holds 64" in screen.read_to("\n" + PROMPT)
    file = tmp_path / "chat.json"
    screen.do(f"/save {file}")
    assert [message["role"] for message in saved(file)] == ["user", "assistant"]
    screen.type(CTRL_D)
    assert screen.end() == 0


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(start, tmp_path):
    endless = tmp_path / "endless.gbnf"
    endless.write_text('root ::= "begun" more\nmore ::= [a-z] more\n')
    screen = start("--temperature", "0", "--context-length", "30000", "--grammar", endless)
    screen.type("Hello there\n")
    screen.read_to("begun")
    screen.type(CTRL_C)
    assert "gritlite: stopped" in screen.read_to("\n" + PROMPT)
    file = tmp_path / "chat.json"
    screen.do(f"/save {file}")
    question, answer = saved(file)
    assert question["content"] == "Hello there"
    assert answer["content"]
    time.sleep(0.3)
    screen.type("Go on\n")
    screen.read_to("begun")
    screen.type(CTRL_C)
    screen.read_to("gritlite: stopped")
    screen.read_to(PROMPT)
    screen.do(f"/save! {file}")
    assert saved(file)[:2] == [question, answer]
    assert len(saved(file)) == 4

    screen.type("half a line")
    screen.read_to("half a line")
    time.sleep(0.2)  # readline does not notice a signal that comes before it waits for a key
    screen.type(CTRL_C)
    assert "/quit or Ctrl-D ends the chat" in screen.read_to("\n" + PROMPT)
    screen.type(CTRL_D)
    assert screen.end() == 0


def test_the_oldest_turns_go_when_the_context_is_full(start):
    screen = start("--temperature", "0", "--max-tokens", "16", "--context-length", "96")
    shown = [screen.do(f"Question number {i} of many") for i in range(6)]
    assert "left out" not in shown[0]
    assert any("the context of 96 tokens is full: the oldest" in each for each in shown)
    screen.type("/quit\n")
    assert screen.end() == 0


def test_answers_from_a_store_name_their_sources(start, tiny_path, tmp_path, monkeypatch):
    notes(tmp_path / "notes")
    monkeypatch.chdir(tmp_path)
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as store:
        store.add("notes")
    screen = start("--store", "a.grit", "--max-tokens", "3")
    for question in ("who founded the inn?", "and the rooms?"):
        assert re.search(r"\n\n\[1\] notes/.*\n\[2\] ", screen.do(question))
    screen.do(f"/save {tmp_path / 'chat.json'}")
    said = [message["content"] for message in saved(tmp_path / "chat.json")[::2]]
    assert said == ["who founded the inn?", "and the rooms?"]


def test_lines_in_triple_quotes_and_drafts(start, tmp_path):
    screen = start("--temperature", "0", "--max-tokens", "3")
    screen.type('"""two\n')
    screen.read_to("\n. ")
    screen.type('lines"""\n')
    screen.read_to("\n" + PROMPT)
    file = tmp_path / "chat.json"
    screen.do(f"/save {file}")
    assert saved(file)[0]["content"] == "two\nlines"
    screen.do("Hello")
    time.sleep(0.3)
    screen.type("/edit\n")
    screen.read_to(f"{PROMPT}Hello")
    screen.type(" there\n")
    screen.read_to("\n" + PROMPT)
    screen.do(f"/save! {file}")
    assert [message["content"] for message in saved(file)[::2]] == ["two\nlines", "Hello there"]


def test_without_prompt_toolkit_input_is_used(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert type(open_reader(History(None), list)).__name__ == "Editor"
    monkeypatch.delitem(sys.modules, "gritlite.cli.commands.chat_editor")
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    assert type(open_reader(History(None), list)) is PlainReader
