"""The process of an isolated model: loads it, and does what the messages on standard input ask.

Messages come and go by standard input and output. It prints nothing, ignores Ctrl-C, which is
the program's to handle, and ends when the program does, however that ends.
"""

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

from numpy.typing import NDArray

from gritlite.errors import CancelledError
from gritlite.runtime.isolation import jobs
from gritlite.runtime.isolation.jobs import Job, Models
from gritlite.runtime.isolation.messages import Channel, Message
from gritlite.runtime.isolation.values import error_fields
from gritlite.system.processes import end_with_parent

_MOST_THREADS = 4096  # each answer that is open has one
_OOM_SCORE = 500  # of at most 1,000, where programs usually have 0


class _Task(Job):
    """A job that the program asked for, done in a thread of its own."""

    def __init__(self, channel: Channel, message: Message) -> None:
        super().__init__(message.fields, message.arrays)
        self._channel = channel
        self._job = message.job
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    def send(self, kind: str, arrays: Sequence[NDArray[Any]] = (), **fields: Any) -> None:
        self._channel.send(Message(kind, self._job, fields, arrays))

    def wait(self) -> Message:
        message = self._inbox.get()
        if message is None:
            raise CancelledError("the program no longer waits for this")
        return message

    def take(self, message: Message) -> None:
        """Take a message of the program for this job, in the thread that receives it."""
        if message.kind == "cancel":
            self.set_cancelled()
        elif message.kind == "stop":
            self._inbox.put(None)
            self.set_cancelled()
        else:
            self._inbox.put(message)


class _Server:
    """Receives messages, and does each job in a thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._models = Models()
        self._tasks: dict[int, _Task] = {}
        self._threads = ThreadPoolExecutor(_MOST_THREADS, "job")
        self._current = threading.local()

    def serve(self) -> None:
        """Do what is asked until the program is gone."""
        warnings.showwarning = self._warn
        while (message := self._channel.receive()) is not None:
            task = self._tasks.get(message.job)
            if message.kind in jobs.JOBS:
                task = self._tasks[message.job] = _Task(self._channel, message)
                self._threads.submit(self._do, message, task)
            elif task is not None:
                task.take(message)

    def _do(self, message: Message, task: _Task) -> None:
        self._current.task = task
        try:
            jobs.JOBS[message.kind](task, self._models)
        except BrokenPipeError:  # the program is gone
            pass
        except Exception as error:
            with contextlib.suppress(BrokenPipeError):
                task.send("error", **error_fields(error))
        finally:
            self._current.task = None
            self._tasks.pop(message.job, None)

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Tell the program of a warning; one of no job is logged."""
        del file, line
        task = getattr(self._current, "task", None)
        if task is None:
            logging.getLogger("py.warnings").warning("%s:%s: %s", filename, lineno, message)
        else:
            task.send("warning", category=category.__name__, message=str(message))


class _Forward(logging.Handler):
    """Sends what is logged to the program."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            fields = {"name": record.name, "level": record.levelno, "text": self.format(record)}
            self._channel.send(Message("log", 0, fields))


def main() -> None:
    """Serve until standard input ends; a first argument is the level of what is logged."""
    end_with_parent()
    for name in ("SIGINT", "SIGQUIT", "SIGHUP"):  # a terminal sends them to all of its programs
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _be_killed_first()
    channel = _channel()
    logging.basicConfig(level=int(sys.argv[1]), handlers=[_Forward(channel)])
    try:
        _Server(channel).serve()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # at once: passes that nobody waits for are not finished


def _be_killed_first() -> None:
    """On Linux: when memory runs out, have this process killed rather than the program."""
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):
        score.write_text(str(max(int(score.read_text("ascii")), _OOM_SCORE)), "ascii")


def _channel() -> Channel:
    """The channel to the program; what any library prints or reads does not get into it."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Channel(reader, writer)


if __name__ == "__main__":
    main()
