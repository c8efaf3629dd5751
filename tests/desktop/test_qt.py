"""examples/desktop/chat_qt.py: its window is used as people use it, and never waits."""

import sys
import time
from functools import partial

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel

from examples.desktop import chat_qt
from gritlite import GritLM
from tests.desktop.conftest import EXAMPLES, ROOT
from tests.rag.documents import pdf

pytestmark = pytest.mark.real
SECONDS = 120
TICK = 10  # milliseconds
ALONE = "Answers are from the model alone."


@pytest.fixture(scope="session")
def app():
    app = QApplication.instance() or QApplication(["chat_qt"])
    app.setApplicationName("gritlite-chat")
    return app


@pytest.fixture
def window(app, default_model):
    """The window, with its model loaded."""
    window = chat_qt.Window(default_model, temperature=0, max_tokens=60)
    window.show()
    finish(window)
    yield window
    window.close()
    assert window.thread_of_worker.isFinished()


@pytest.fixture
def long_folder(tmp_path):
    """Documents that take some seconds to embed, and one that a child process reads."""
    folder = tmp_path / "long"
    folder.mkdir()
    for number in range(12):
        text = " ".join(f"word{number * 7 % 13} and {number} ferries" for _ in range(25))
        (folder / f"{number:02}.txt").write_text(text)
    (folder / "ferry.pdf").write_bytes(pdf(["The ferry leaves at seven."], title="Ferry"))
    return folder


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.001)


def finish(window):
    """Wait until no job runs; return the remark."""
    until(window.send.isEnabled)
    return window.state.text()


def ask(window, text):
    window.question.setText(text)
    QTest.keyClick(window.question, Qt.Key.Key_Return)


def notes(window):
    return [each.text() for each in window.scroll.findChildren(QLabel, "note")]


def long_prompt(window, tokens):
    """A message of about so many tokens."""
    word = " ferry"
    each = (
        len(window.worker._model.tokenize(word * 101)) - len(window.worker._model.tokenize(word))
    ) / 100
    return (word * int(tokens / each)).strip()


def test_the_model_is_loaded_with_progress(app, default_model):
    window = chat_qt.Window(default_model)
    seen = []
    window.worker.progressed.connect(lambda *each: seen.append(each))
    assert finish(window) == ""
    counts = [done for _, done, _ in seen]
    assert counts == sorted(counts)
    assert seen[-1] == ("Loading the model …", 1000, 1000)
    window.close()


def test_a_load_that_is_cancelled_is_done_by_the_next_question(app, default_model):
    window = chat_qt.Window(default_model, max_tokens=2)
    window.worker.stop()
    assert finish(window) == "Cancelled."
    ask(window, "Hello!")
    finish(window)
    assert window.answer.text()
    window.close()


def test_an_answer_is_shown_while_it_comes(window, default_model):
    seen = []
    window.worker.said.connect(
        lambda _: seen.append((window.answer.text(), window.stop.isEnabled()))
    )
    ask(window, "Why do leaves look green?")
    assert not window.send.isEnabled()
    assert window.question.text() == ""
    finish(window)
    assert len(seen) > 5
    assert all(is_busy for _, is_busy in seen)
    with GritLM(default_model, threads=chat_qt.THREADS) as model:
        question = {"role": "user", "content": "Why do leaves look green?"}
        expected = model.chat([question], temperature=0, max_tokens=60)
    assert window.answer.text() == expected
    assert window.messages[-1] == {"role": "assistant", "content": expected}


def test_stop_ends_an_answer_and_what_was_said_stays(window):
    window.worker._options = {"temperature": 0, "max_tokens": 2000}
    ask(window, "Tell me a long story about a ferry.")
    until(lambda: window.answer.text())
    QTest.mouseClick(window.stop, Qt.MouseButton.LeftButton)
    assert finish(window) == "Stopped."
    assert window.messages[-1]["content"] == window.answer.text() != ""


def test_stop_ends_the_reading_of_a_long_prompt(window):
    read = []
    window.worker.progressed.connect(lambda *each: read.append(each))
    ask(window, long_prompt(window, 4000))
    until(lambda: read)
    QTest.mouseClick(window.stop, Qt.MouseButton.LeftButton)
    assert finish(window) == "Stopped."
    assert window.answer.text() == ""
    _, done, total = read[-1]
    assert done < total
    assert total > 3800
    assert window.messages == []  # the next question is not asked after it


def test_the_window_goes_on_while_the_model_works(window, long_folder, monkeypatch):
    """Its clock; benchmarks/desktop.py measures it on a quiet machine."""
    late, last = [], [time.monotonic()]

    def tick():
        now = time.monotonic()
        late.append((now - last[0]) * 1000 - TICK)
        last[0] = now

    clock = QTimer(window, timerType=Qt.TimerType.PreciseTimer, timeout=tick)
    clock.start(TICK)
    ask(window, long_prompt(window, 2000))
    finish(window)
    window.start(partial(window.worker.index, str(long_folder)))
    finish(window)
    clock.stop()
    assert len(late) > 100
    assert sorted(late)[len(late) * 99 // 100] < 250


def test_a_folder_is_indexed_with_progress_and_answered_from(window, monkeypatch):
    seen = []
    window.worker.progressed.connect(lambda *each: seen.append(each))
    folder = str(ROOT / "examples" / "notes")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: folder)
    QTest.mouseClick(window.choose, Qt.MouseButton.LeftButton)
    assert finish(window) == ""
    counts = [done for _, done, _ in seen]
    assert counts == sorted(counts)
    assert seen[-1] == ("Reading the folder …", 1000, 1000)
    assert window.folder.text() == f"Answers are from 5 documents in {folder}."
    ask(window, "Who founded the inn?")
    finish(window)
    assert window.answer.text()
    assert "notes/inn.md line 3 (0." in notes(window)[-1]
    ask(window, "Which film won the prize in 1987?")  # no passage has to do with it
    finish(window)
    assert window.answer.text() == "The documents do not tell."


def test_indexing_is_cancelled_and_goes_on_later(window, long_folder):
    def stop(_what, done, _total):
        if 300 < done < 1000:
            window.worker.progressed.disconnect(stop)
            window.stop.click()

    window.worker.progressed.connect(stop)
    window.start(partial(window.worker.index, str(long_folder)))
    assert finish(window) == "Cancelled."
    assert window.folder.text() == ALONE
    window.start(partial(window.worker.index, str(long_folder)))
    assert finish(window) == ""
    assert window.folder.text() == f"Answers are from 13 documents in {long_folder}."


def test_errors_are_told_and_the_window_goes_on(window, tmp_path):
    ask(window, long_prompt(window, 5000))
    assert "context" in finish(window)
    window.start(partial(window.worker.index, str(tmp_path / "nowhere")))
    assert "nowhere" in finish(window)
    ask(window, "Hello!")
    finish(window)
    assert window.answer.text()


def test_a_missing_model_is_told(app):
    window = chat_qt.Window("nowhere.gguf")
    assert "nowhere.gguf" in finish(window)
    window.close()


@pytest.mark.parametrize(
    ("busy_with", "remark"),
    [
        ("loading", "Cancelled."),
        ("reading", "Stopped."),
        ("answering", "Stopped."),
        ("indexing", "Cancelled."),
    ],
)
def test_closing_while_busy_leaves_nothing(start, default_model, long_folder, busy_with, remark):
    driver = ROOT / "tests" / "desktop" / "close_while_busy.py"
    process = start(sys.executable, driver, EXAMPLES, default_model, busy_with, long_folder)
    output, messages = process.communicate(timeout=SECONDS)
    assert (output, messages, process.returncode) == (f"{remark}\n", "", 0)
