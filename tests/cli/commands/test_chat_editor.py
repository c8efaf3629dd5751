"""A chat at a good terminal: pasting, history, Tab, keys typed meanwhile, lines, commands."""

import json
import signal
import stat
import time

import pytest

from tests.cli.screen import CTRL_C, CTRL_D, ENTER, TAB, UP, Screen

ENDLESS = 'root ::= "begun " word\nword ::= [a-z] [a-z] [a-z] [a-z] [a-z] " " word\n'


@pytest.fixture
def history(tmp_path):
    return tmp_path / "history"


@pytest.fixture
def start(tiny_path, history):
    screens = []

    def start(*arguments, **options):
        options = {"GRITLITE_HISTORY": str(history), **options}
        screen = Screen("chat", "--model", tiny_path, "--threads", 1, *arguments, **options)
        screens.append(screen)
        screen.wait_for("/help lists")
        screen.wait_for_prompt()
        return screen

    yield start
    for screen in screens:
        screen.close()


@pytest.fixture
def endless(tmp_path):
    """Options for answers of words that never end."""
    path = tmp_path / "endless.gbnf"
    path.write_text(ENDLESS)
    return "--grammar", path, "--context-length", 30_000, "--temperature", 0


def messages(screen, tmp_path):
    file = tmp_path / f"{time.monotonic()}.json"
    screen.do(f"/save {file}")
    return json.loads(file.read_text())


def asked(screen, tmp_path):
    return [each["content"] for each in messages(screen, tmp_path) if each["role"] == "user"]


SHORT = ("--max-tokens", 4, "--temperature", 0)


def test_a_missing_model_is_offered_before_the_chat_begins(tmp_path):
    screen = Screen("chat", GRITLITE_CACHE=str(tmp_path), GRITLITE_HISTORY="")
    screen.wait_for("Fetch it now")
    assert screen.shows_keys
    screen.type("n" + ENTER)
    screen.wait_for("error: ")
    assert screen.end() == 2


def test_several_lines_are_one_message(start, tmp_path):
    screen = start(*SHORT)
    screen.paste("pasted\n  of three\nlines")
    screen.wait_for("lines")
    screen.do("!")
    screen.do('"""quoted\n\n/reset\nlines"""'.replace("\n", ENTER))
    screen.do("broken\x1b\rline")  # Alt-Enter
    assert asked(screen, tmp_path) == [
        "pasted\n  of three\nlines!",
        "quoted\n\n/reset\nlines",
        "broken\nline",
    ]
    screen.do(f'/system """Be brief{ENTER}and kind"""')
    assert messages(screen, tmp_path)[0]["content"] == "Be brief\nand kind"


def test_keys_typed_during_an_answer_wait_for_the_next_prompt(start, endless, tmp_path):
    screen = start(*endless, "--max-tokens", 300)
    screen.type("Hello" + ENTER)
    screen.wait_for("begun")
    assert not screen.shows_keys
    screen.type("the next ")
    screen.paste("question\nof two lines")
    screen.wait_for("> the next question\n. of two lines")
    answer = screen.text.partition("begun")[2].partition("gritlite: ")[0]
    assert "next" not in answer
    assert "question" not in answer
    screen.type(CTRL_C)
    screen.wait_for_prompt("/quit or Ctrl-D ends the chat")
    screen.type(CTRL_D)
    assert screen.process.wait(60) == 0
    assert screen.shows_keys


def test_ctrl_c_stops_an_answer_and_drops_what_was_typed(start, endless, tmp_path):
    screen = start(*endless)
    screen.type("Hello" + ENTER)
    screen.wait_for("begun")
    screen.type("never mind")
    screen.type(CTRL_C)
    screen.wait_for_prompt("gritlite: stopped")
    screen.type("exit" + ENTER)
    assert screen.end() == 0


def test_a_terminated_chat_leaves_the_terminal_as_it_was(start, endless):
    at_prompt, in_answer = start(*SHORT), start(*endless)
    in_answer.type("Hello" + ENTER)
    in_answer.wait_for("begun")
    for screen in (at_prompt, in_answer):
        screen.process.send_signal(signal.SIGTERM)
        while screen.process.poll() is None:
            screen.read(0.05)
        assert screen.process.returncode == 143
        assert screen.shows_keys
        assert "Traceback" not in screen.text


@pytest.mark.parametrize("columns", [33, 80])
def test_words_of_the_help_are_not_cut_at_the_edge(start, columns):
    screen = start(*SHORT, columns=columns)
    screen.do("/help")
    shown = {word.strip(".,;()") for word in screen.text.split()}
    assert {"replaces", "existing", "pasted", "Tab", "system"} <= shown


def test_the_history_lasts_and_is_private(start, history):
    first = start(*SHORT)
    first.do("Hello there")
    first.do(" a secret")
    first.type("/quit" + ENTER)
    assert first.end() == 0
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "secret" not in history.read_text()
    second = start(*SHORT)
    second.type(UP + UP)
    second.wait_for("> Hello there")
    second.type(ENTER)
    second.wait_for_prompt("cut at 4 tokens")
    third = start(*SHORT, "--no-history")
    third.type(UP)
    third.read(0.3)
    third.do("Not kept")
    assert "Not kept" not in history.read_text()


def test_a_history_that_cannot_be_written_is_told_once(start, tmp_path):
    (tmp_path / "file").write_text("")
    screen = start(*SHORT, GRITLITE_HISTORY=str(tmp_path / "file" / "history"))
    screen.do("Hello")
    screen.do("Hello again")
    assert screen.text.count("what you type is not remembered") == 1


def test_tab_completes(start, tmp_path):
    (tmp_path / "chats").mkdir()
    (tmp_path / "chats" / "one.json").write_text("[]")
    screen = start(*SHORT, columns=240)  # the path is in one line, however long it is
    screen.type("/st" + TAB)
    screen.wait_for("> /stats")
    screen.type(CTRL_C)
    screen.wait_for_prompt("ends the chat")
    screen.type("/set rep" + TAB)
    screen.wait_for("> /set repeat_penalty")
    screen.type(CTRL_C)
    screen.wait_for_prompt()
    screen.type(f"/load {tmp_path}/ch" + TAB)
    screen.wait_for("/chats/")
    screen.type("o" + TAB)
    screen.wait_for("/chats/one.json")
    screen.type(ENTER)
    screen.wait_for("0 messages loaded")


def test_retry_and_edit_replace_the_last_turn(start, tmp_path):
    screen = start("--max-tokens", 6, "--temperature", 1.5)
    assert "no question has been asked yet" in screen.do("/retry")
    screen.do("First")
    screen.do("Second")
    before = messages(screen, tmp_path)
    assert "will be the same" not in screen.do("/retry")
    after = messages(screen, tmp_path)
    assert [each["content"] for each in after[:3]] == [each["content"] for each in before[:3]]
    assert len(after) == 4
    assert after[3] != before[3]
    screen.type("/edit" + ENTER)
    screen.wait_for("> Second")
    screen.type(" thought" + ENTER)
    screen.wait_for_prompt("Second thought")
    assert asked(screen, tmp_path) == ["First", "Second thought"]
    screen.type("/edit" + ENTER)
    screen.wait_for(lambda screen: screen.lines[-1] == "> Second thought")
    screen.type(CTRL_C)
    screen.wait_for_prompt("ends the chat")
    assert asked(screen, tmp_path) == ["First", "Second thought"]
    screen.do("/set temperature 0")
    assert "will be the same" in screen.do("/retry")


def test_what_a_stopped_retry_has_said_takes_the_answers_place(start, endless, tmp_path):
    screen = start(*endless, "--max-tokens", 20)
    screen.do("Hello")
    before = messages(screen, tmp_path)
    screen.do("/set max_tokens default")
    screen.type("/retry" + ENTER)
    screen.wait_for(lambda screen: screen.text.count("begun") == 2)
    screen.type(CTRL_C)
    screen.wait_for_prompt("gritlite: stopped")
    after = messages(screen, tmp_path)
    assert len(after) == len(before)
    assert after[1]["content"].startswith("begun")
    assert after[1] != before[1]


def test_settings_and_statistics(start):
    screen = start("--temperature", 0)
    assert "temperature        0\n" in screen.do("/set") + "\n"
    assert "max_tokens  3" in screen.do("/set max-tokens 3")
    assert "temperature is 200.0: expected 0.0 to 100.0" in screen.do("/set temperature 200")
    assert "no question has been answered yet" in screen.do("/stats")
    assert "cut at 3 tokens, the limit of /set max_tokens" in screen.do("Hello there")
    shown = screen.do("/stats")
    assert "3 tokens, " in shown
    assert " a second" in shown
    assert "of 1,024 tokens" in shown
    screen.do("/set max_tokens 1")
    assert "cut at 1 token," in screen.do("Hello there")


@pytest.mark.parametrize("word", ["exit", "quit", "/bye", "/exit", "/quit"])
def test_ways_to_end(start, word):
    screen = start(*SHORT)
    screen.type(word + ENTER)
    assert screen.end() == 0


def test_a_mistyped_command_gets_a_suggestion(start):
    screen = start(*SHORT)
    assert "there is no command /restet (did you mean /reset?)" in screen.do("/restet")
    assert "there is no command /xyzzy: /help lists them" in screen.do("/xyzzy")


def test_another_model_goes_on_with_the_chat(start, model, tmp_path):
    screen = start(*SHORT)
    screen.do("Hello")
    assert "model.gguf, 1,024 tokens of context" in screen.do("/model")
    assert "missing.gguf does not exist" in screen.do("/model missing.gguf")
    screen.type(f"/model {str(model)[:-4]}" + TAB)
    screen.wait_for("tiny.gguf")
    count = len(screen.lines)
    screen.type(ENTER)
    screen.wait_for(lambda screen: "tiny.gguf, 128 tokens" in "\n".join(screen.lines[count:]))
    screen.wait_for_prompt()
    screen.do("Again")
    assert asked(screen, tmp_path) == ["Hello", "Again"]
