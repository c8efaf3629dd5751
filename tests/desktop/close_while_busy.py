"""Run chat_qt.py, close its window in the middle of something, and print how that ended.

Usage: close_while_busy.py EXAMPLES MODEL loading|reading|answering|indexing FOLDER
"""

import sys
from functools import partial

from PySide6.QtCore import QTimer

examples, model, busy_with, folder = sys.argv[1:]
sys.path.insert(0, examples)
sys.argv[1:] = [model]

import chat_qt  # noqa: E402


class Window(chat_qt.Window):
    """A window that closes itself."""

    begun = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.clock = QTimer(self, timeout=self.look)
        self.clock.start(0)

    def look(self):
        """Begin what to be busy with, and close the window once it is."""
        if busy_with == "loading" or (self.begun and self.is_in_the_middle()):
            assert self.stop.isEnabled()
            self.clock.stop()
            self.worker.ended.connect(lambda remark: remark and print(remark, flush=True))
            self.close()
        elif self.send.isEnabled() and not self.begun:
            self.begun = True
            if busy_with == "indexing":
                self.start(partial(self.worker.index, folder))
            else:
                text = " ferry" * 3000 if busy_with == "reading" else "Tell me a long story."
                self.question.setText(text)
                self.ask()

    def is_in_the_middle(self):
        """Whether some of the work is done."""
        if busy_with == "answering":
            return self.answer.text()
        return self.bar.value() > 0 and self.state.text().startswith("Reading")


chat_qt.Window = Window
chat_qt.main()
sys.exit("main returned")
