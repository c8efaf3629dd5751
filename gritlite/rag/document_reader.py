"""Reads documents in a child process, so that a library that crashes does no harm."""

import hashlib
import json
import os
import subprocess
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from gritlite.errors import CancelledError, DocumentError, FileError
from gritlite.rag.document import Block, Document, ReadingOptions
from gritlite.system import processes
from gritlite.system.reading import open_regular, read_stream

_TIMEOUT = 120.0  # seconds for one document
_INTERVAL = 0.05  # seconds between two looks at the clock and `cancel`
_MAX_BYTES = 256 << 20  # of one file
_ATTEMPTS = 3
_MAX_TITLE = 255  # characters, as in a file name
_DEFAULT_OPTIONS = ReadingOptions()


@dataclass(frozen=True)
class Snapshot:
    """The bytes of a file, and its modification time when they were read."""

    data: bytes
    mtime_ns: int

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).digest()


def snapshot(path: Path) -> Snapshot:
    """Read a file that does not change meanwhile.

    Raises DocumentError for a file that cannot be read, is larger than 256 MiB, or changes
    each time it is read.
    """
    try:
        for _ in range(_ATTEMPTS):
            with open_regular(path) as file:
                before = os.fstat(file.fileno())
                if before.st_size > _MAX_BYTES:
                    raise DocumentError(
                        f"{path} has {before.st_size >> 20:,} MiB, more than the "
                        f"{_MAX_BYTES >> 20} MiB that are read: split it"
                    )
                data = read_stream(file, str(path), _MAX_BYTES)
                after = os.fstat(file.fileno())
            if len(data) == before.st_size and before.st_mtime_ns == after.st_mtime_ns:
                return Snapshot(data, after.st_mtime_ns)
    except FileError as error:
        raise DocumentError(str(error)) from error
    raise DocumentError(
        f"{path} changes while it is read: run the command again when it is finished"
    )


class DocumentReader:
    """Reads documents one after another. A context manager that ends the child process.

    Once `cancel` is set, `read` raises CancelledError, and ends the child for it.
    """

    def __init__(self, timeout: float = _TIMEOUT, *, cancel: threading.Event | None = None) -> None:
        self._timeout = timeout
        self._cancel = cancel
        self._child: subprocess.Popen[bytes] | None = None

    def read(self, data: bytes, path: Path, options: ReadingOptions = _DEFAULT_OPTIONS) -> Document:
        """Parse the bytes of the file at `path`, whose suffix decides the format.

        The title is the document's own, or else its first heading of level 1, or else the
        name of the file; titles longer than 255 characters are ignored. Raises
        DocumentError for bytes that cannot be read.
        """
        answer = self._request(data, path.suffix.lower(), options)
        if "error" in answer:
            raise DocumentError(f"{path} {answer['error']}")
        blocks = tuple(Block(*block) for block in answer["blocks"])
        headings = [block.text for block in blocks if block.level == 1]
        titles = [answer["title"], *headings[:1], path.stem]
        title = next(title for title in titles if 0 < len(title) <= _MAX_TITLE)
        return Document(title, blocks, tuple(answer["notes"]))

    def _request(self, data: bytes, suffix: str, options: ReadingOptions) -> dict[str, Any]:
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        ended, timed_out = threading.Event(), threading.Event()

        def watch() -> None:
            end = time.monotonic() + self._timeout
            while not ended.wait(max(min(_INTERVAL, end - time.monotonic()), 0)):
                if time.monotonic() >= end:
                    timed_out.set()
                if timed_out.is_set() or self._is_cancelled():
                    child.kill()
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            request = {"suffix": suffix, "size": len(data), **asdict(options)}
            child.stdin.write(json.dumps(request).encode() + b"\n" + data)
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            ended.set()
            watcher.join()
        if line.endswith(b"\n"):
            return dict(json.loads(line))
        self.close()
        if self._is_cancelled():
            raise CancelledError("reading documents was cancelled")
        if timed_out.is_set():
            return {"error": f"took more than {self._timeout:.0f} s to read: it may be damaged"}
        return {"error": "crashed the library that reads it: it may be damaged"}

    def _is_cancelled(self) -> bool:
        return self._cancel is not None and self._cancel.is_set()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._child is None:
            self._child = processes.start(
                processes.module_command("gritlite.rag.reader_child"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        return self._child

    def close(self) -> None:
        """End the child process. The next document starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
