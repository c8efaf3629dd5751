"""What a hub says of a repository, checked before a path is built from it.

A mirror or a man in the middle may say anything. The module does not know how the answer was
fetched, nor what is done with it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from gritlite.errors import DownloadError

_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository, by its path there, and the digest that its bytes must have.

    `sha256` is that of a large file; a small one has git's `blob_id` instead. `size` is what
    the hub says that it has in bytes, 0 if it does not; only progress depends on it.
    """

    name: str
    sha256: str | None
    blob_id: str | None
    size: int = 0


@dataclass(frozen=True)
class RemoteRepository:
    """A repository at one commit, and its files by name."""

    commit: str
    files: Mapping[str, RemoteFile]


def read_answer(repository: str, info: Any) -> RemoteRepository:
    """Check what huggingface_hub read from a hub's answer (its `ModelInfo`).

    Raises DownloadError for a commit that is not 40 hexadecimal digits, a file name that
    would leave its folder or that no file system takes, and a file without a digest.
    """
    commit = _matching(_COMMIT, getattr(info, "sha", None))
    if commit is None:
        raise _refused(repository, f"a commit {getattr(info, 'sha', None)!r}")
    siblings = getattr(info, "siblings", None)
    if siblings is not None and not isinstance(siblings, list | tuple):
        raise _refused(repository, "no list of files")
    files = [_file(repository, sibling) for sibling in siblings or ()]
    return RemoteRepository(commit.lower(), {file.name: file for file in files})


def _file(repository: str, sibling: Any) -> RemoteFile:
    name = getattr(sibling, "rfilename", None)
    if not isinstance(name, str) or not _is_safe(name):
        raise _refused(repository, f"a file {name!a}")
    sha256 = _matching(_SHA256, getattr(getattr(sibling, "lfs", None), "sha256", None))
    blob_id = _matching(_COMMIT, getattr(sibling, "blob_id", None))
    if sha256 is None and (blob_id is None or getattr(sibling, "lfs", None) is not None):
        raise _refused(repository, f"a file {name!a} without a digest")
    size = getattr(sibling, "size", None)
    known = size if isinstance(size, int) and 0 <= size < 1 << 62 else 0
    return RemoteFile(name, sha256 and sha256.lower(), blob_id and blob_id.lower(), known)


def _is_safe(name: str) -> bool:
    """Whether a name stays in its folder, on every system, and can be written there."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or set(name) & set("\\:"):
        return False
    return name.isprintable() and all(len(part.encode()) <= 255 for part in path.parts)


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _refused(repository: str, what: str) -> DownloadError:
    return DownloadError(
        f"the hub's answer about {repository} names {what}: refused; "
        "check the endpoint (HF_ENDPOINT)"
    )
