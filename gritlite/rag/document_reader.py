"""Files become documents, read in a process of its own that may crash and does no harm then."""

import hashlib
import json
import os
import stat
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gritlite.errors import DocumentError
from gritlite.rag.document import Block, Document
from gritlite.system import processes

_TIMEOUT = 120.0  # seconds for one document
_MOST_BYTES = 256 << 20  # of one file
_ATTEMPTS = 3
_LONGEST_TITLE = 255  # characters, as of a file's name


@dataclass(frozen=True)
class Snapshot:
    """The bytes of a file at one moment, and what tells later whether they still stand there."""

    data: bytes
    mtime_ns: int

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).digest()


def snapshot(path: Path) -> Snapshot:
    """Read a file that nobody wrote to meanwhile.

    Raises DocumentError for one that cannot be read, is larger than 256 MiB, or
    changes each time it is read.
    """
    try:
        for _ in range(_ATTEMPTS):
            with open(path, "rb", opener=_opened) as file:
                before = os.fstat(file.fileno())
                if not stat.S_ISREG(before.st_mode):
                    raise DocumentError(f"{path} is no file but a pipe or a device")
                if before.st_size > _MOST_BYTES:
                    raise DocumentError(
                        f"{path} has {before.st_size >> 20:,} MiB: more than "
                        f"{_MOST_BYTES >> 20} MiB is not read: split it"
                    )
                data = file.read()
                after = os.fstat(file.fileno())
            if len(data) == before.st_size and before.st_mtime_ns == after.st_mtime_ns:
                return Snapshot(data, after.st_mtime_ns)
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}") from error
    raise DocumentError(
        f"{path} changes while it is read: run the command again when it is finished"
    )


def _opened(path: str, flags: int) -> int:
    """Open without waiting for the other end, as a pipe would."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class DocumentReader:
    """Reads documents one after another. A context manager; the process ends with it."""

    def __init__(self, timeout: float = _TIMEOUT) -> None:
        self._timeout = timeout
        self._child: subprocess.Popen[bytes] | None = None

    def read(self, data: bytes, path: Path) -> Document:
        """The document of a file's bytes; `path` tells the format and is named in errors.

        A document without a title of its own has that of its first heading of level
        1, or else the file's name; what is longer than names of files can be is no
        title. Raises DocumentError for bytes that cannot be read.
        """
        answer = self._ask(data, path)
        if "error" in answer:
            raise DocumentError(f"{path} {answer['error']}")
        blocks = tuple(Block(*block) for block in answer["blocks"])
        headings = [block.text for block in blocks if block.level == 1]
        named = [answer["title"], *headings[:1], path.stem]
        title = next(name for name in named if 0 < len(name) <= _LONGEST_TITLE)
        return Document(title, blocks, answer["warning"])

    def _ask(self, data: bytes, path: Path) -> dict[str, Any]:
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        too_slow = threading.Event()

        def give_up() -> None:
            too_slow.set()
            child.kill()

        timer = threading.Timer(self._timeout, give_up)
        timer.start()
        try:
            request = {"suffix": path.suffix.lower(), "size": len(data)}
            child.stdin.write(json.dumps(request).encode() + b"\n" + data)
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            return dict(json.loads(line))
        self.close()
        if too_slow.is_set():
            return {"error": f"is not read after {self._timeout:.0f} s: it may be damaged"}
        return {"error": "crashed the library that reads it: it may be damaged"}

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._child is None:
            self._child = subprocess.Popen(
                processes.module("gritlite.rag.reader_child"),
                env=processes.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._child

    def close(self) -> None:
        """End the process. The next document starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
