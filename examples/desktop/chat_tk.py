"""The smallest chat in a window: Tkinter, a thread and two queues.

Usage: python chat_tk.py [MODEL]

The thread loads the model and answers. The window, which only its own thread may use, looks thirty
times a second for what it has to show.
"""

import queue
import sys
import threading
import tkinter as tk
from tkinter.scrolledtext import ScrolledText
from typing import Any

import gritlite
from gritlite import GritLiteError, GritLM, Message

POLL = 33  # milliseconds
LOAD = ""  # in place of a question: only load the model


class Chat:
    """A window that chats."""

    def __init__(self, root: tk.Tk, model: str = "default", **options: Any) -> None:
        self.root = root
        self.options = {"max_tokens": 512, "stop_loops": True, **options}
        self.messages: list[Message] = []
        self.questions: queue.Queue[str | None] = queue.Queue()  # None ends the thread
        self.shown: queue.Queue[tuple[str, str]] = queue.Queue()  # what it is, and its text
        self.cancel = threading.Event()  # ends a load, or an answer
        self.answer: Any = None
        root.title("gritlite")
        root.protocol("WM_DELETE_WINDOW", self.close)
        self.state = tk.Label(root, anchor="w")
        self.question = tk.Entry(root)
        self.question.bind("<Return>", lambda _: self.ask())
        self.button = tk.Button(root, width=8)
        self.log = ScrolledText(root, wrap="word", padx=10, pady=10)
        self.log.tag_config("question", foreground="#2f6fb3")
        self.log.pack(fill="both", expand=True)
        self.state.pack(fill="x")
        self.question.pack(side="left", fill="x", expand=True)
        self.button.pack(side="right")
        self.thread = threading.Thread(target=self.work, args=(model,))
        self.thread.start()
        self.start(LOAD)
        self.poll()

    def ask(self) -> None:
        text = self.question.get().strip()
        if text and not self.is_busy:
            self.question.delete(0, "end")
            self.log.insert("end", f"\n{text}\n", "question")
            self.start(text)

    def start(self, text: str) -> None:
        self.show_busy(True)
        self.cancel.clear()
        self.questions.put(text)

    def stop(self) -> None:
        self.cancel.set()
        if (answer := self.answer) is not None:
            answer.cancel()

    def close(self) -> None:
        """End what runs, within an operation of the model, then the thread, then the window."""
        self.root.withdraw()
        self.stop()
        self.questions.put(None)
        self.thread.join()
        self.root.destroy()

    def poll(self) -> None:
        while not self.shown.empty():
            what, text = self.shown.get()
            if what == "piece":
                self.log.insert("end", text)
                self.log.see("end")
            else:
                self.state["text"] = text
            if what == "end":
                self.show_busy(False)
        self.root.after(POLL, self.poll)

    def show_busy(self, is_busy: bool) -> None:
        self.is_busy = is_busy
        self.button["text"] = "Stop" if is_busy else "Send"
        self.button["command"] = self.stop if is_busy else self.ask

    def work(self, name: str) -> None:
        """The thread: it calls nothing of Tkinter."""
        model: GritLM | None = None
        while (text := self.questions.get()) is not None:
            try:
                model = model or GritLM(name, progress=self.report, cancel=self.cancel)
                self.shown.put(("end", self.reply(model, text) if text != LOAD else ""))
            except GritLiteError as error:  # it says what to do
                self.shown.put(("end", str(error)))
        if model is not None:
            model.close()

    def report(self, done: int, total: int) -> None:
        self.shown.put(("state", f"Loading the model: {done * 100 // total} %"))

    def reply(self, model: GritLM, text: str) -> str:
        """Answer a question; return a remark."""
        messages: list[Message] = [*self.messages, {"role": "user", "content": text}]
        with model.chat(messages, stream=True, **self.options) as answer:
            self.answer = answer
            if self.cancel.is_set():  # Stop was pressed before there was an answer
                answer.cancel()
            for piece in answer:
                self.shown.put(("piece", piece))
        if answer.text:
            self.messages = [*messages, {"role": "assistant", "content": answer.text}]
        return "Stopped." if answer.finish_reason == "cancelled" else ""


def main() -> None:
    gritlite.freeze_support()
    root = tk.Tk()
    Chat(root, *sys.argv[1:2])
    root.mainloop()


if __name__ == "__main__":
    main()
