"""A call to the process of an isolated model: what it is asked, and what comes back.

Callbacks run in the thread that waits for the call, as they would without isolation.
"""

import builtins
import contextlib
import itertools
import queue
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

from numpy.typing import NDArray

from gritlite import errors
from gritlite.errors import InputError
from gritlite.runtime.isolation.messages import Message
from gritlite.runtime.isolation.process import ModelProcess
from gritlite.runtime.isolation.values import error_from
from gritlite.system.progress import ProgressCallback

_LOOK = 0.02  # seconds between two looks at a caller's `cancel`
_TEXTS = 16  # sent at a time
_STACK = 4  # frames from `warnings.warn` to the method that was called


class Call:
    """One call. A context manager: leaving it early stops the work. One thread receives."""

    def __init__(
        self,
        process: ModelProcess,
        kind: str,
        fields: Mapping[str, Any],
        arrays: Sequence[NDArray[Any]] = (),
    ) -> None:
        self._process = process
        self._job, self._inbox = process.add()
        self._over = False
        self._failure: Callable[[], Exception] | None = None  # what the work ended in
        try:
            process.send(kind, self._job, fields, arrays)
        except BaseException:
            process.forget(self._job)
            raise

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message of this call. Raises ModelProcessError or ClosedError."""
        self._process.send(kind, self._job, fields)

    def cancel(self) -> None:
        """Ask the process to cancel the work; does nothing where it has ended."""
        self._tell("cancel")

    def _tell(self, kind: str) -> None:
        with contextlib.suppress(errors.ModelProcessError, errors.ClosedError, errors.UsageError):
            self.send(kind)

    def receive(self, cancel: threading.Event | None = None, *, keep: bool = False) -> Message:
        """Wait for the next message; warnings are issued here.

        With `keep` it is received again, until `drop` is called: for one who calls again after
        Ctrl-C.

        Raises the error that the work raised, ModelProcessError if the process ended, and
        ClosedError if the model was closed; and raises it again when called again. Once
        `cancel` is set the work is told.
        """
        if self._failure is not None:
            raise self._failure()
        while (message := self._next(cancel)) is not None:
            if not keep or message.kind in ("warning", "error"):
                self.drop()
            if message.kind == "warning":
                _warn(message.fields["category"], message.fields["message"])
            elif message.kind == "error":
                self._over, self._failure = True, partial(error_from, message.fields)
                raise self._failure()
            else:
                self._over = message.kind == "result"
                return message
        self._over, self._failure = True, self._process.error
        raise self._failure()

    def result(self, progress: ProgressCallback, cancel: threading.Event | None) -> Message:
        """Wait for the result, and report the progress. Raises as `receive`."""
        while (message := self.receive(cancel)).kind == "progress":
            progress(message.fields["done"], message.fields["total"])
            self.send("next")
        return message

    def _next(self, cancel: threading.Event | None) -> Message | None:
        while cancel is not None:
            if cancel.is_set():
                self.cancel()
                break
            try:
                return self._inbox.wait(_LOOK)
            except queue.Empty:
                pass
        return self._inbox.wait()

    def drop(self) -> None:
        """Drop the message that was received."""
        self._inbox.drop()

    def close(self) -> None:
        """Stop the work unless it is done, and drop what still comes of it."""
        if not self._over:
            self._over = True
            self._tell("stop")
        self._process.forget(self._job)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Texts:
    """A caller's texts, sent to the process some at a time as it asks for them.

    What the iterable raises is raised once the process has asked for the text behind the last.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = self._checked(texts)
        self._error: Exception | None = None

    def answer(self, call: Call) -> None:
        """Send the next texts. Raises what the iterable raised, and InputError for no str."""
        if self._error is not None:
            raise self._error
        found: list[str] = []
        try:
            for text in itertools.islice(self._texts, _TEXTS):
                found.append(text)
        except Exception as error:
            if not found:
                raise
            self._error = error
        call.send("given", texts=found, ended=self._error is None and len(found) < _TEXTS)

    @staticmethod
    def _checked(texts: Iterable[str]) -> Iterator[str]:
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"{type(text).__name__} instead of str", number)
            yield text


def _warn(category: str, message: str) -> None:
    kind = getattr(errors, category, getattr(builtins, category, None))
    if not (isinstance(kind, type) and issubclass(kind, Warning)):
        kind = UserWarning
    warnings.warn(message, kind, stacklevel=_STACK)
