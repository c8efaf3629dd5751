"""The partial result of a stopped `gritlite embed -o OUTPUT`, from which it can go on.

The vectors so far are kept in OUTPUT.partial, whatever ends the process. The file is one
line of JSON, which says what the job is, and blocks of:

    uint32      the number of vectors in the block
    uint32      CRC-32 of their bytes
    32 bytes    SHA-256 over this value in the block before and each text's own SHA-256
    float32     the vectors [n, dimension], little endian

The first block that is cut off or damaged ends the file. The module does not know how
texts become vectors.
"""

import json
import struct
import sys
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gritlite.errors import FileError, FormatError, UsageError
from gritlite.runtime.embed import Vectors

if sys.platform != "win32":
    import fcntl

_FORMAT = 1
_HEAD = struct.Struct("<II32s")
_LONGEST_DESCRIPTION = 1 << 20
_WORDS: Mapping[str, str] = {
    "format": "a version of gritlite with another format",
    "model": "another model",
    "dimension": "another model",
    "prompt": "another instruction",
    "max_length": "another maximum length",
    "too_long": "another way of treating long texts",
}


@dataclass(frozen=True)
class Job:
    """What decides about the vectors of given texts; `model` is the file's fingerprint."""

    model: str
    dimension: int
    prompt: str
    max_length: int
    too_long: str
    format: int = _FORMAT


def partial_path(output: Path) -> Path:
    """Where the partial result of an output is kept."""
    return output.with_name(output.name + ".partial")


def check_partial(output: Path | None, *, resume: bool, force: bool) -> None:
    """Raise UsageError if there is nothing to resume, or something that was not mentioned."""
    if output is None:
        if resume:
            raise UsageError("--resume needs --output, beside which the partial result is kept")
        return
    path = partial_path(output)
    if resume and not path.exists():
        raise UsageError(f"there is no {path} to resume from: leave out --resume")
    if path.exists() and not (resume or force):
        with path.open("rb") as file:
            _lock(path, file)
        raise UsageError(
            f"{path} is from a stopped job: pass --resume to go on where it stopped, or --force "
            "to start again"
        )


class PartialResult:
    """An open partial result, which grows with `append`. `count` is the number of its vectors."""

    def __init__(self, path: Path, file: BinaryIO, dimension: int) -> None:
        self.path = path
        self.count = 0
        self._file = file
        self._dimension = dimension
        self._digest = bytes(32)  # of the texts whose vectors are in the file
        self._ahead: deque[bytes] = deque()  # digests of the texts whose vectors are to come

    def replay(self, texts: Iterator[str]) -> Iterator[Vectors]:
        """Yield the stored vectors, and take their texts from `texts`.

        Raises UsageError if the texts are not those that the vectors were made from.
        """
        while True:
            start = self._file.tell()
            block = self._read_block()
            if block is None:
                self._file.seek(start)
                self._file.truncate()
                return
            vectors, digest = block
            for _ in self.following(texts, len(vectors)):
                pass
            if len(self._ahead) < len(vectors) or self._advance(len(vectors)) != digest:
                raise UsageError(
                    f"{self.path} was made from other texts than the first "
                    f"{self.count + len(vectors):,} of this input: restore them, or delete the file"
                )
            self.count += len(vectors)
            yield vectors

    def _read_block(self) -> tuple[Vectors, bytes] | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        count, checksum, digest = _HEAD.unpack(head)
        rest = self.path.stat().st_size - self._file.tell()
        size = count * self._dimension * 4
        data = self._file.read(size) if 0 < size <= rest else b""
        if not data or zlib.crc32(data) != checksum:
            return None
        return np.frombuffer(data, "<f4").reshape(count, self._dimension), digest

    def following(self, texts: Iterator[str], count: int = sys.maxsize) -> Iterator[str]:
        """Yield up to `count` of the texts, and remember them for their vectors."""
        for _ in range(count):
            text = next(texts, None)
            if text is None:
                return
            self._ahead.append(sha256(text.encode("utf-8", "surrogatepass")).digest())
            yield text

    def append(self, vectors: Vectors) -> None:
        """Write the vectors of the next texts that `following` yielded."""
        data = vectors.astype("<f4", copy=False).tobytes()
        digest = self._advance(len(vectors))
        self._file.write(_HEAD.pack(len(vectors), zlib.crc32(data), digest) + data)
        self._file.flush()
        self.count += len(vectors)

    def _advance(self, count: int) -> bytes:
        """Move the digest over the next texts."""
        chained = sha256(self._digest)
        for _ in range(count):
            chained.update(self._ahead.popleft())
        self._digest = chained.digest()
        return self._digest


@contextmanager
def open_partial(path: Path, job: Job, *, resume: bool) -> Iterator[PartialResult]:
    """Open the partial result at `path`, or begin one.

    It is removed when the block ends without an exception, and when it has no vectors.
    Raises UsageError for one of another job, FormatError for another file, and FileError if
    another process writes it.
    """
    try:
        file: BinaryIO = path.open("r+b" if resume else "a+b")
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    worthless = False
    try:
        with file:
            _lock(path, file)
            if resume:
                file.seek(0)
                _check_job(path, file.readline(_LONGEST_DESCRIPTION), job)
            else:
                worthless = True
                file.truncate(0)
                file.write(json.dumps(asdict(job)).encode() + b"\n")
                file.flush()
            partial = PartialResult(path, file, job.dimension)
            try:
                yield partial
            finally:
                worthless = worthless and not partial.count
        worthless = True
    finally:
        if worthless:  # the output is complete, or nothing was computed
            path.unlink(missing_ok=True)


def _lock(path: Path, file: BinaryIO) -> None:
    """Let no other process write the file; Windows has no such lock."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileError(f"another process is writing {path}: wait for it") from error
        except OSError:  # a file system without locks
            return


def _check_job(path: Path, line: bytes, job: Job) -> None:
    try:
        known = json.loads(line)
    except ValueError as error:
        raise FormatError(f"{path} is not the partial result of a job: delete it") from error
    wanted = asdict(job)
    if not isinstance(known, dict) or known.keys() != wanted.keys():
        raise FormatError(f"{path} is not the partial result of this version: delete it")
    for name, word in _WORDS.items():
        if known[name] != wanted[name]:
            raise UsageError(f"{path} was made with {word}: restore it, or delete the file")
