"""Fingerprints that tell whether two files hold the same model.

A fingerprint covers every byte of the file: the SHA-256 of the SHA-256s of its blocks of
16 MiB, which several threads compute. Earlier versions hashed the header and a few kilobytes
from the middle of each tensor; such a sample does not notice an edited row, and is kept only
to recognise what they wrote.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gritlite.errors import FileError
from gritlite.modelfile.header import GGUFFile
from gritlite.system.progress import ProgressCallback, no_progress

_SAMPLE_BYTES = 4096
_BLOCK_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20
_MAX_THREADS = 8
_PREFIX = "all-"  # distinguishes a fingerprint from a sampled one


def fingerprint(path: Path, progress: ProgressCallback = no_progress) -> str:
    """Return "all-" and the hexadecimal digest of the file's size and blocks.

    `progress` counts bytes. Raises FileError if the file cannot be read, or changes
    meanwhile.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            size = before.st_size
            digest.update(f"{size}\n".encode())
            pool = ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS))
            try:
                starts = range(0, size, _BLOCK_BYTES)
                for start, block in zip(
                    starts, pool.map(lambda at: _block(path, at), starts), strict=True
                ):
                    digest.update(block)
                    progress(min(start + _BLOCK_BYTES, size), size)
            finally:
                pool.shutdown(cancel_futures=True)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
        raise FileError(f"{path} changed while it was read: try again when it is finished")
    return _PREFIX + digest.hexdigest()


def _block(path: Path, start: int) -> bytes:
    """The SHA-256 of a block; a file object of its own lets threads read at their own places."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        left = _BLOCK_BYTES
        while left and (piece := file.read(min(_PIECE_BYTES, left))):
            digest.update(piece)
            left -= len(piece)
    return digest.digest()


def is_sampled(stored: str) -> bool:
    """Whether a fingerprint is one of earlier versions, of `sampled_fingerprint`."""
    return not stored.startswith(_PREFIX)


def sampled_fingerprint(file: GGUFFile) -> str:
    """Return the hexadecimal SHA-256 of the header and of samples of the tensors.

    Raises FileError if the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(file.path, "rb", buffering=0) as data:
            digest.update(data.read(file.data_offset))
            for tensor in file.tensors:
                length = min(_SAMPLE_BYTES, tensor.size)
                data.seek(tensor.offset + (tensor.size - length) // 2)
                digest.update(data.read(length))
    except OSError as error:
        raise FileError(f"cannot read {file.path}: {error}") from None
    return digest.hexdigest()
