"""What all clients of a server saw, and the memory of its processes, for `serve.py`."""

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_INTERVAL = 10.0  # seconds between two looks at the memory
_HEADINGS = (
    "server",
    "minutes",
    "answers",
    "tokens/s",
    "TTFT of chats, median and 95%",
    "TTFT of questions to a store",
    "vectors/s",
    "told to wait",
    "failures",
    "differ from alone",
    "resident memory: start, middle, end",
    "per hour",
)


class Memory:
    """The resident memory of processes in MiB, over time."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._samples: list[tuple[float, float]] = []  # seconds while clients ask, MiB
        self._seconds = 0.0

    def now(self) -> float:
        """The sum of this moment."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._pids]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look at it again and again meanwhile, in a thread."""
        ended, start = threading.Event(), time.monotonic()

        def watch() -> None:
            while not ended.wait(_INTERVAL):
                self._samples.append((self._seconds + time.monotonic() - start, self.now()))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._seconds += time.monotonic() - start

    def cells(self) -> tuple[str, str]:
        """At the start, in the middle and at the end; and the slope of the second half."""
        sizes = [size for _, size in self._samples]
        if not self._pids or len(sizes) < 4:
            return "", ""
        second = self._samples[len(sizes) // 2 :]
        slope, _ = statistics.linear_regression(*zip(*second, strict=True))
        three = f"{sizes[0]:,.0f}, {sizes[len(sizes) // 2]:,.0f}, {sizes[-1]:,.0f} MiB"
        return three, f"{slope * 3600:+.0f} MiB"


@dataclass
class Figures:
    """Of one server. Thread-safe."""

    name: str
    memory: Memory
    seconds: float = 0.0
    _firsts: dict[str, list[float]] = field(default_factory=lambda: {"chat": [], "ask": []})
    _tokens: int = 0
    _vectors: int = 0
    _waits: int = 0
    failures: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, kind: str, first: float, tokens: int) -> None:
        """Count an answer and the seconds to its first token."""
        with self._lock:
            self._firsts[kind].append(first)
            self._tokens += tokens

    def embedded(self, count: int) -> None:
        """Count vectors."""
        with self._lock:
            self._vectors += count

    def told_to_wait(self) -> None:
        """Count a request that was told to come back."""
        with self._lock:
            self._waits += 1

    def failed(self, message: str) -> None:
        """Count a failure."""
        with self._lock:
            self.failures.append(message)

    def differs(self, message: str) -> None:
        """Count an answer, or vectors, that the client alone did not get."""
        with self._lock:
            self.differing.append(message)

    def cells(self) -> list[str]:
        """The row of the table."""
        seconds = self.seconds or 1.0
        return [
            f"`{self.name}`",
            f"{seconds / 60:.0f}",
            str(sum(map(len, self._firsts.values()))),
            f"{self._tokens / seconds:.1f}",
            _spread(self._firsts["chat"]),
            _spread(self._firsts["ask"]),
            f"{self._vectors / seconds:.1f}",
            str(self._waits),
            str(len(self.failures)),
            str(len(self.differing)),
            *self.memory.cells(),
        ]


def _spread(seconds: Sequence[float]) -> str:
    """The median and the 95th percentile."""
    if len(seconds) < 2:
        return ""
    return f"{statistics.median(seconds):.2f}, {statistics.quantiles(seconds, n=20)[-1]:.2f} s"


def table(all_figures: Iterable[Figures]) -> str:
    """A Markdown table."""
    rows = [_HEADINGS, ["---"] * len(_HEADINGS), *(each.cells() for each in all_figures)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
