"""examples/desktop/chat_tk.py: it answers, stops, and ends its thread with the window."""

import time
import tkinter as tk

import pytest

from examples.desktop import chat_tk
from gritlite import GritLM

pytestmark = pytest.mark.real
SECONDS = 60
STORY = "Tell me a long story about a ferry."


@pytest.fixture
def chat(default_model):
    """The window, with its model loaded."""
    chat = chat_tk.Chat(tk.Tk(), default_model, temperature=0, max_tokens=60)
    finish(chat)
    yield chat
    if chat.thread.is_alive():
        chat.close()
    assert not chat.thread.is_alive()


def until(chat, condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        chat.root.update()
        time.sleep(0.005)


def text(chat):
    return chat.log.get("1.0", "end").strip()


def finish(chat):
    """Wait until nothing runs; return the remark."""
    until(chat, lambda: not chat.is_busy)
    return chat.state["text"]


def ask(chat, text):
    chat.question.insert(0, text)
    chat.ask()
    assert chat.question.get() == ""
    assert chat.button["text"] == "Stop"


def test_it_answers(chat, default_model):
    ask(chat, "Why do leaves look green?")
    assert finish(chat) == ""
    assert chat.button["text"] == "Send"
    with GritLM(default_model) as model:
        question = {"role": "user", "content": "Why do leaves look green?"}
        expected = model.chat([question], temperature=0, max_tokens=60)
    assert text(chat) == f"Why do leaves look green?\n{expected}"
    ask(chat, "And flowers?")
    finish(chat)
    assert [each["role"] for each in chat.messages] == ["user", "assistant"] * 2


def test_stop_ends_an_answer_and_what_was_said_stays(chat):
    chat.options["max_tokens"] = 2000
    ask(chat, STORY)
    until(chat, lambda: text(chat) != STORY)
    chat.button.invoke()
    assert finish(chat) == "Stopped."
    said = chat.messages[-1]["content"]
    assert said
    assert said in text(chat)


def test_closing_ends_an_answer(chat):
    chat.options["max_tokens"] = 2000
    ask(chat, STORY)
    until(chat, lambda: text(chat) != STORY)
    chat.close()
    assert not chat.thread.is_alive()


def test_a_load_can_be_cancelled_and_an_error_is_told(default_model):
    chat = chat_tk.Chat(tk.Tk(), default_model, max_tokens=2)
    chat.stop()
    assert "cancelled" in finish(chat)
    ask(chat, "Hello!")  # loads
    assert finish(chat) == ""
    ask(chat, "word " * 5000)
    assert "context" in finish(chat)
    chat.close()
