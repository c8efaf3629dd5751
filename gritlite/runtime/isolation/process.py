"""The process of an isolated model, seen from the program: one that runs, and the next one.

A thread receives its messages and gives each to the call that waits for it. When the process
ends, every call that waits gets a ModelProcessError, and a call after that starts another
process. The module does not know what is called.
"""

import contextlib
import itertools
import logging
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from gritlite.errors import ClosedError, LibraryError, ModelProcessError, UsageError
from gritlite.runtime.isolation.messages import Channel, Message
from gritlite.runtime.signals import signals_deferred
from gritlite.system import processes

log = logging.getLogger(__name__)

_CHILD = "gritlite.runtime.isolation.child"
_END = 5.0  # seconds for a process to end once it has closed its output
_LAST_WORDS = 0.5  # seconds for what it wrote last; a child of its own may have the pipe open
_LAST_LINES = 5  # of what it wrote to standard error


class Inbox:
    """The messages of one call; None after the last: the process has ended. One thread reads."""

    def __init__(self) -> None:
        self._messages: deque[Message | None] = deque()
        self._arrivals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def put(self, message: Message | None) -> None:
        """Add a message, from any thread."""
        self._messages.append(message)
        self._arrivals.put(None)

    def wait(self, timeout: float | None = None) -> Message | None:
        """Wait for the first message, which stays until `drop`. Raises queue.Empty.

        So it is not lost where Ctrl-C comes together with it.
        """
        while not self._messages:
            self._arrivals.get(timeout=timeout)
        return self._messages[0]

    def drop(self) -> None:
        """Drop the first message: what it says is done."""
        self._messages.popleft()


class ModelProcess:
    """One process and the calls that wait for it. Thread-safe."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        level = logging.getLogger("gritlite").getEffectiveLevel()
        try:
            self._child = processes.start(
                (*processes.module_command(_CHILD), str(level)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise LibraryError(f"the model's process cannot be started: {error}") from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._channel = Channel(self._child.stdout, self._child.stdin)
        self._numbers = itertools.count(1)
        self._inboxes: dict[int, Inbox] = {}
        self._lock = threading.Lock()  # held while calls are added, and when the process ends
        self._ended = False
        self._closed = False
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._errors = threading.Thread(target=self._read_errors, name="gritlite", daemon=True)
        self._errors.start()
        threading.Thread(target=self._receive, name="gritlite", daemon=True).start()

    @property
    def id(self) -> int:
        """The number that the system gave the process."""
        return self._child.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended, and another must be started."""
        return self._ended or self._child.poll() is not None

    def add(self) -> tuple[int, Inbox]:
        """Return the number and the inbox of a new call. Raises as `error` if it has ended."""
        with self._lock:
            if self._ended:
                raise self.error()
            number, inbox = next(self._numbers), Inbox()
            self._inboxes[number] = inbox
            return number, inbox

    def forget(self, number: int) -> None:
        """Drop what comes for a call that is over."""
        self._inboxes.pop(number, None)

    def send(
        self, kind: str, job: int, fields: Mapping[str, Any], arrays: Sequence[NDArray[Any]] = ()
    ) -> None:
        """Send a message. Raises as `error` if the process has ended, and UsageError."""
        _check_owner(self._owner)
        try:
            with signals_deferred():  # Ctrl-C must not cut a message short
                self._channel.send(Message(kind, job, fields, arrays))
        except UsageError:
            raise
        except (OSError, ValueError) as error:  # ValueError: the pipe was closed
            raise self.error() from error

    def error(self) -> ModelProcessError | ClosedError:
        """What a call raises that the process did not answer."""
        if self._closed:
            return ClosedError()
        return ModelProcessError(
            f"the model's process ended ({self._reason()}): the next call starts another"
        )

    def _reason(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_END)
        code = self._child.returncode
        if code == -getattr(signal, "SIGKILL", 9):
            return "signal 9, SIGKILL: memory may have run out, or another program ended it"
        found = f"exit code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                found = f"signal {-code}, {signal.Signals(-code).name}"
        return "; ".join([found, *list(self._last_lines)[-1:]])

    def _receive(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout, contextlib.suppress(OSError, ValueError):
            while (message := self._channel.receive()) is not None:
                if message.kind == "log":
                    _log(message.fields)
                elif (inbox := self._inboxes.get(message.job)) is not None:
                    inbox.put(message)
        self._end()

    def _end(self) -> None:
        """Tell all calls that the process has ended."""
        try:
            self._child.wait(_END)
        except subprocess.TimeoutExpired:  # it closed its output, and nothing else
            self._child.kill()
            self._child.wait()
        self._errors.join(_LAST_WORDS)
        with self._lock:
            self._ended = True
            inboxes = list(self._inboxes.values())
        for inbox in inboxes:
            inbox.put(None)
        with contextlib.suppress(OSError):
            self._channel.close()

    def _read_errors(self) -> None:
        """Log what the process writes to standard error, and remember the last lines."""
        assert self._child.stderr is not None
        with self._child.stderr as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._last_lines.append(text)
                    log.debug("%s", text)

    def close(self) -> None:
        """End the process. Calls that wait get a ClosedError."""
        self._closed = True
        self._child.kill()
        self._child.wait()


class Restarting:
    """A process that is started again, by a call, after it ended. Thread-safe.

    `begin` is called with each new process before any call is made.
    """

    def __init__(self, begin: Callable[[ModelProcess], None]) -> None:
        self._begin = begin
        self._owner = os.getpid()
        self._lock = threading.RLock()  # held while a process is started
        self._process: ModelProcess | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def id(self) -> int | None:
        """The number of the process that runs; None if none does."""
        process = self._process
        return None if process is None or process.ended else process.id

    def get(self) -> ModelProcess:
        """Return the process that runs; start one if none does.

        Raises ClosedError, UsageError in a forked process, and what `begin` raises.
        """
        _check_owner(self._owner)
        if self._closed:
            raise ClosedError
        with self._lock:
            if self._process is None or self._process.ended:
                process = ModelProcess()
                self._process = process
                try:
                    self._begin(process)
                except BaseException:
                    process.close()
                    self._process = None
                    raise
            if self._closed:
                self._process.close()
                raise ClosedError
            return self._process

    def close(self) -> None:
        """End the process, also while it is being started. It does nothing in a fork."""
        self._closed = True
        process = self._process
        if process is not None and os.getpid() == self._owner:
            process.close()


def _check_owner(owner: int) -> None:
    """Raise UsageError in a fork of the process that loaded the model: it has its pipes too."""
    if os.getpid() != owner:
        raise UsageError(
            f"the model was loaded in process {owner}, of which this one is a fork: start "
            "processes by 'spawn' instead of 'fork', and load the model in each"
        )


def _log(fields: Mapping[str, Any]) -> None:
    """Log what the process logged, under the same name and level."""
    logger = logging.getLogger(fields["name"])
    if logger.isEnabledFor(fields["level"]):
        logger.handle(
            logger.makeRecord(
                fields["name"], fields["level"], "the model's process", 0, fields["text"], (), None
            )
        )
