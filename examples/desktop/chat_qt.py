"""A chat in a window that also answers from a folder of documents: PySide6 and gritlite.

Usage: python chat_qt.py [MODEL]

MODEL is a GGUF file or the name of a pulled model. All work with the model is done by `Worker`, in
a thread of its own. Signals bring it jobs, and bring progress and pieces of answers back, so the
window never waits. Only `Worker.stop` is called by the window while a job runs.
"""

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import QObject, QStandardPaths, Qt, QThread, Signal
from PySide6.QtGui import QCloseEvent

import gritlite
from gritlite import CancelledError, GritLiteError, GritLM, Message, Store

THREADS = max(1, (os.cpu_count() or 2) - 1)  # one core is left to the window
STYLE = """
QWidget { background: #fbfbfa; color: #22252a; font-size: 14px; }
QScrollArea { border: none; }
QLabel#question { background: #e3ecf7; border-radius: 10px; padding: 9px 13px; }
QLabel#answer { padding: 2px 13px 8px; }
QLabel#note { color: #68707c; font-size: 12px; padding: 0 13px 8px; }
QLineEdit, QPushButton { background: white; border: 1px solid #cbd0d8; border-radius: 8px; }
QLineEdit, QPushButton { padding: 8px 14px; }
QPushButton:disabled { color: #a9afb8; background: #f1f2f3; }
QProgressBar { border: none; border-radius: 3px; background: #e6e8eb; max-height: 6px; }
QProgressBar::chunk { border-radius: 3px; background: #2f6fb3; }
"""


class Worker(QObject):
    """The model, and the store of the folder. Does one job after another, in its own thread."""

    progressed = Signal(str, int, int)  # what is done, how much of it, and of how much
    said = Signal(str)  # a piece of an answer
    cited = Signal(str)  # the sources of an answer, a line each
    opened = Signal(str)  # what answers are from
    ended = Signal(str)  # a job; with a remark, or an empty text

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.cancel = threading.Event()  # ends the job that runs
        self._name = model
        self._options = options
        self._model: Any = None  # a GritLM, once it is loaded
        self._store: Store | None = None
        self._answer: Any = None

    def stop(self) -> None:
        """End the job that runs. May be called in any thread."""
        self.cancel.set()
        if (answer := self._answer) is not None:
            answer.cancel()

    def run(self, job: Callable[[], str]) -> None:
        """Do a job, which returns a remark; an error is the remark of one that failed."""
        remark = "This failed."  # by a mistake in this program, which Python prints
        try:
            remark = job()
        except CancelledError:
            remark = "Cancelled."
        except GritLiteError as error:  # it says what to do
            remark = str(error)
        finally:
            self._answer = None
            self.ended.emit(remark)

    def load(self) -> str:
        """Load the model, unless it is there. A load that was cancelled is done again."""
        if self._model is None:
            report = partial(self.progressed.emit, "Loading the model …")
            self._model = GritLM(self._name, threads=THREADS, progress=report, cancel=self.cancel)
        return ""

    def index(self, folder: str) -> str:
        """Bring the store of a folder up to date, and answer from it from now on."""
        self.load()
        self._leave_folder()
        store = Store.open(store_path(folder), self._model)
        try:
            report = partial(self.progressed.emit, "Reading the folder …")
            failed = store.add(folder, progress=report, cancel=self.cancel).changes.failed
            self.opened.emit(f"Answers are from {len(store.documents())} documents in {folder}.")
        except BaseException:
            store.close()  # what was embedded stays in it
            raise
        self._store = store
        return " ".join(f"Not read: {failure}." for failure in failed)

    def answer(self, messages: list[Message]) -> str:
        """Answer the last message: from the folder if there is one, else by the model alone."""
        self.load()
        report = partial(self.progressed.emit, "Reading …")
        options = self._options | {"stream": True, "progress": report}
        if self._store is None:
            self._answer = self._model.chat(messages, **options)
        else:
            *history, last = messages
            self._answer = self._store.ask(last["content"], history=history, **options)
            self.cited.emit(sources(self._store, self._answer.passages))
        with self._answer as answer:
            if self.cancel.is_set():  # Stop was pressed before there was an answer
                answer.cancel()
            for piece in answer:
                self.said.emit(piece)
        ends = {"stop": "", "cancelled": "Stopped."}
        return ends.get(answer.finish_reason, f"The answer ended early: {answer.finish_reason}.")

    def close(self) -> str:
        self._leave_folder()
        if self._model is not None:
            self._model.close()
        self.thread().quit()
        return ""

    def _leave_folder(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
            self.opened.emit("Answers are from the model alone.")


class Window(QtWidgets.QWidget):
    """The chat. One job runs at a time; meanwhile there is a bar, and a button that ends it."""

    wanted = Signal(object)  # a job for the worker

    def __init__(self, model: str = "default", **options: Any) -> None:
        super().__init__(windowTitle="gritlite", styleSheet=STYLE)
        self.resize(720, 560)
        self.messages: list[Message] = []
        self.lay_out()
        self.thread_of_worker = QThread()
        self.worker = Worker(model, {"max_tokens": 512, "stop_loops": True} | options)
        self.worker.moveToThread(self.thread_of_worker)
        self.wanted.connect(self.worker.run)
        self.worker.progressed.connect(self.show_progress)
        self.worker.said.connect(self.show_piece)
        self.worker.cited.connect(self.show_sources)
        self.worker.opened.connect(self.folder.setText)
        self.worker.ended.connect(self.end)
        self.thread_of_worker.start()
        self.start(self.worker.load)

    def lay_out(self) -> None:
        """Make what is in the window, from top to bottom."""
        self.choose = QtWidgets.QPushButton("Choose a folder …", clicked=self.choose_folder)
        self.folder = label("note", "Answers are from the model alone.")
        self.scroll = QtWidgets.QScrollArea(widgetResizable=True)
        self.scroll.setWidget(QtWidgets.QWidget())
        self.log = QtWidgets.QVBoxLayout(self.scroll.widget())
        self.log.addStretch()
        bar = self.scroll.verticalScrollBar()
        bar.rangeChanged.connect(lambda _low, high: bar.setValue(high))  # show the end
        self.state = label("note", "")
        self.bar = QtWidgets.QProgressBar(textVisible=False)
        self.question = QtWidgets.QLineEdit(placeholderText="Message", returnPressed=self.ask)
        self.send = QtWidgets.QPushButton("Send", clicked=self.ask)
        self.stop = QtWidgets.QPushButton("Stop", clicked=lambda: self.worker.stop())
        rows = QtWidgets.QVBoxLayout(self)
        rows.addLayout(row(self.folder, self.choose))
        rows.addWidget(self.scroll, 1)
        rows.addLayout(row(self.state, self.bar))
        rows.addLayout(row(self.question, self.send, self.stop))

    def choose_folder(self) -> None:
        if folder := QtWidgets.QFileDialog.getExistingDirectory(self, "A folder to answer from"):
            self.start(partial(self.worker.index, folder))

    def ask(self) -> None:
        text = self.question.text().strip()
        if text and self.send.isEnabled():
            self.question.clear()
            self.messages.append({"role": "user", "content": text})
            self.add("question", text)
            self.answer = self.add("answer", "")
            self.start(partial(self.worker.answer, list(self.messages)))

    def start(self, job: Callable[[], str]) -> None:
        self.show_busy(True)
        self.worker.cancel.clear()
        self.wanted.emit(job)

    def end(self, remark: str) -> None:
        self.show_busy(False)
        self.state.setText(remark)
        if self.messages and self.messages[-1]["role"] == "user":
            if said := self.answer.text():
                self.messages.append({"role": "assistant", "content": said})
            else:
                self.messages.pop()

    def show_busy(self, is_busy: bool) -> None:
        """Let either be pressed what begins a job, or what ends it."""
        self.send.setDisabled(is_busy)
        self.choose.setDisabled(is_busy)
        self.stop.setEnabled(is_busy)
        self.bar.setVisible(is_busy)

    def show_progress(self, what: str, done: int, total: int) -> None:
        self.state.setText(what)
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def show_piece(self, piece: str) -> None:
        self.state.setText("Answering …")
        self.answer.setText(self.answer.text() + piece)

    def show_sources(self, lines: str) -> None:
        self.add("note", lines)

    def add(self, name: str, text: str) -> QtWidgets.QLabel:
        added = label(name, text)
        self.log.insertWidget(self.log.count() - 1, added)
        return added

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """End the job that runs, within an operation of the model, and then the thread."""
        self.hide()
        self.worker.stop()
        self.wanted.emit(self.worker.close)
        self.thread_of_worker.wait()
        event.accept()


def label(name: str, text: str) -> QtWidgets.QLabel:
    """A text that can be selected; what a model wrote is never shown as HTML."""
    made = QtWidgets.QLabel(text, objectName=name, wordWrap=True)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return made


def row(first: QtWidgets.QWidget, *others: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    """Widgets side by side; the first takes the room that is left."""
    layout = QtWidgets.QHBoxLayout()
    layout.addWidget(first, 1)
    for widget in others:
        layout.addWidget(widget)
    return layout


def store_path(folder: str) -> Path:
    """The store of a folder, among the user's data: it stays, and so does what was embedded."""
    base = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppDataLocation)
    Path(base).mkdir(parents=True, exist_ok=True)
    return Path(base, hashlib.sha256(folder.encode()).hexdigest()[:16] + ".grit")


def sources(store: Store, passages: list[Any]) -> str:
    pairs = zip(store.names(passages), passages, strict=True)
    return "\n".join(f"{name} {each.place} ({each.score:.2f})" for name, each in pairs)


def main() -> None:
    gritlite.freeze_support()
    app = QtWidgets.QApplication(sys.argv[:1])
    app.setApplicationName("gritlite-chat")
    window = Window(*sys.argv[1:2])
    window.show()
    sys.exit(app.exec())


if __name__ == "__main__":
    main()
