"""Messages between a program and the process of its model: JSON, and numbers as raw bytes.

    u32      length of the head, little endian
    head     JSON: kind, job, fields, and the type and shape of each array that follows
    arrays   their numbers, one after another, in C order

Several jobs share one channel; `job` says whose a message is. Nothing is executed that comes
from the other side. The module does not know what is said.
"""

import json
import struct
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import UsageError

_LENGTH = struct.Struct("<I")
_TYPES = ("float16", "float32", "int32")


@dataclass(frozen=True)
class Message:
    """What one side tells the other about a job, with the arrays that belong to it."""

    kind: str
    job: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Sequence[NDArray[Any]] = ()

    def parts(self) -> list[bytes | memoryview]:
        """Return the message's bytes, in parts.

        Raises UsageError for a field that JSON cannot carry.
        """
        arrays = [np.ascontiguousarray(array) for array in self.arrays]
        for array in arrays:
            _check_type(array.dtype.name)
        head = {
            "kind": self.kind,
            "job": self.job,
            "fields": self.fields,
            "arrays": [(array.dtype.name, array.shape) for array in arrays],
        }
        text = json.dumps(head, default=_plain).encode()
        views = [_bytes_of(array) for array in arrays if array.size]
        return [_LENGTH.pack(len(text)), text, *views]


class Channel:
    """Sends messages from any thread, and receives them in one."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader = reader
        self._writer = writer
        self._unsent: deque[list[bytes | memoryview]] = deque()
        self._lock = threading.Lock()  # held while messages are written

    def send(self, message: Message) -> None:
        """Send a message whole, or leave it to the thread that is sending one.

        It never waits for that thread, which may be this one: the garbage collector can end a
        call at any moment. Raises UsageError, and OSError if the other side is gone.
        """
        self._unsent.append(message.parts())
        while self._unsent and self._lock.acquire(blocking=False):
            try:
                while self._unsent:
                    for part in self._unsent.popleft():
                        self._writer.write(part)
                    self._writer.flush()
            finally:
                self._lock.release()

    def receive(self) -> Message | None:
        """Wait for the next message; None when the other side is gone."""
        length = self._reader.read(_LENGTH.size)
        if len(length) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack(length)
        text = self._reader.read(size)
        if len(text) < size:
            return None
        head = json.loads(text)
        arrays = []
        for name, shape in head["arrays"]:
            array = self._array(name, shape)
            if array is None:
                return None
            arrays.append(array)
        return Message(head["kind"], head["job"], head["fields"], arrays)

    def _array(self, name: str, shape: Sequence[int]) -> NDArray[Any] | None:
        _check_type(name)
        array = np.empty(shape, name)
        if not array.size:
            return array
        view = _bytes_of(array)
        read = 0
        while read < len(view):
            count = self._reader.readinto(view[read:])  # type: ignore[attr-defined] # buffered
            if not count:
                return None
            read += count
        return array

    def close(self) -> None:
        """Stop sending. Raises OSError if the other side is gone."""
        self._writer.close()


def _check_type(name: str) -> None:
    if name not in _TYPES:
        raise ValueError(f"an array of {name}: expected one of {', '.join(_TYPES)}")


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _plain(value: object) -> object:
    """Return what JSON can carry of a value; it calls this for those that it cannot."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise UsageError(
        f"{value!r} cannot be passed to the model's process: pass strings, numbers, lists and "
        "mappings of them"
    )
