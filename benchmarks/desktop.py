"""How well examples/desktop/chat_qt.py keeps up with its user while the model works.

Needs the environment and the screen of `make test-desktop`:

    xvfb-run -a .venv-desktop/bin/python benchmarks/desktop.py [MODEL]

Prints how late a timer of 10 ms is in the window's thread while the model answers and embeds, and
how long Stop takes in a prompt of 4,000 tokens, and closing the window in one.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from embed import processor
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples" / "desktop"))

from chat_qt import THREADS, Window  # noqa: E402

TICK = 10  # milliseconds
ROUNDS = 5
LONG = "ferry " * 4000  # a token each, in the default model


class Clock:
    """How late a timer is, in milliseconds."""

    def __init__(self, window: Window) -> None:
        self.late: list[float] = []
        self._last = time.perf_counter()
        kind = Qt.TimerType.PreciseTimer
        self._timer = QTimer(window, interval=TICK, timerType=kind, timeout=self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.late.append((now - self._last) * 1000 - TICK)
        self._last = now

    def report(self, what: str) -> None:
        """Print the median, the 99th percentile and the worst, and forget them."""
        late = sorted(self.late)
        middle, high, worst = late[len(late) // 2], late[len(late) * 99 // 100], late[-1]
        print(f"| {what} | {len(late)} | {middle:.1f} | {high:.1f} | {worst:.1f} |", flush=True)
        self.late.clear()


def main() -> None:
    """Measure, and print two tables."""
    app = QApplication(sys.argv[:1])
    app.setApplicationName("gritlite-benchmark")
    window = ready(*sys.argv[1:2])
    clock = Clock(window)
    print(f"{processor()}, {THREADS} thread(s) of the model\n")
    print("| ms late | ticks | median | 99 % | most |\n|---|---|---|---|---|")
    wait(lambda: len(clock.late) > 200)
    clock.report("idle")
    for number in range(ROUNDS):
        ask(window, f"Tell me a long story about {number} ferries.")
        finish(window)
    clock.report("answering")
    ask(window, LONG[: len(LONG) // 2])
    finish(window)
    clock.report("reading a prompt")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(20):
            Path(folder, f"{number}.txt").write_text(f"Note {number}: the ferry. " * 100)
        window.start(partial(window.worker.index, folder))
        finish(window)
        clock.report("embedding")
    window.close()
    print("\n| seconds | each time |\n|---|---|")
    for what, act in (("Stop", stop), ("closing", close)):
        print(f"| {what} | {', '.join(f'{act(*sys.argv[1:2]):.2f}' for _ in range(ROUNDS))} |")


def ready(*model: str) -> Window:
    """A window whose model is loaded."""
    window = Window(*model, max_tokens=60)
    window.show()
    finish(window)
    return window


def read_long_prompt(window: Window) -> None:
    """Go into the middle of a pass over a long prompt."""
    ask(window, LONG)
    wait(lambda: window.bar.value() > 0 and window.state.text().startswith("Reading"))
    wait_until = time.perf_counter() + 0.1
    wait(lambda: time.perf_counter() > wait_until)


def stop(*model: str) -> float:
    """How long Stop takes in a long prompt."""
    window = ready(*model)
    read_long_prompt(window)
    begun = time.perf_counter()
    window.stop.click()
    finish(window)
    taken = time.perf_counter() - begun
    assert window.state.text() == "Stopped."
    window.close()
    return taken


def close(*model: str) -> float:
    """How long closing the window takes in a long prompt."""
    window = ready(*model)
    read_long_prompt(window)
    begun = time.perf_counter()
    window.close()
    return time.perf_counter() - begun


def ask(window: Window, text: str) -> None:
    """Send a message, in a chat of its own."""
    window.messages.clear()
    window.question.setText(text)
    window.ask()


def finish(window: Window) -> None:
    """Wait until no job runs."""
    wait(window.send.isEnabled)


def wait(condition: Any) -> None:
    """Handle the window's events until something is so."""
    while not condition():
        QApplication.processEvents()
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
