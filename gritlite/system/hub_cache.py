"""Finding repositories that lie in the Hugging Face cache already. Nothing is fetched here.

    models--ORG--NAME/refs/main            the commit of the newest fetched "main"
    models--ORG--NAME/snapshots/COMMIT/    the files, as links to ../../blobs/DIGEST

Source: huggingface_hub's guide "Understand caching". Whatever wrote there is not trusted: a
commit is 40 hexadecimal digits, and a link must end within the repository's folder.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FileError
from gritlite.system.reading import read_bytes
from gritlite.system.repository_files import choose

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_FILES = 10_000


@dataclass(frozen=True)
class CachedRepository:
    """A repository's model: a GGUF file or a checkpoint's folder, at a commit."""

    path: Path
    commit: str


def root() -> Path | None:
    """The Hugging Face cache's folder, as huggingface_hub chooses it; None without a home."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.path.expandvars(os.environ[name])).expanduser()
    try:
        if os.environ.get("HF_HOME"):
            return Path(os.path.expandvars(os.environ["HF_HOME"])).expanduser() / "hub"
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(caches).expanduser() / "huggingface" / "hub"
    except RuntimeError:
        return None


def find(name: str, revision: str | None = None) -> CachedRepository | None:
    """The model of `org/name` or `org/name:file.gguf`; None if the cache lacks it.

    `revision` is a branch, a tag or a commit, by default "main". Raises FileError if it is not
    clear which file is meant, if only a part of the model is there, or if a file is a link to
    somewhere else.
    """
    repository, _, wanted = name.partition(":")
    home = root()
    if home is None or "--" in repository or ".." in repository:
        return None
    folder = home / f"models--{repository.replace('/', '--')}"
    commit = _commit(folder, revision)
    if commit is None:
        return None
    snapshot = folder / "snapshots" / commit
    try:
        chosen = choose(f"{repository} in the Hugging Face cache", _files(snapshot), wanted)
    except OSError as error:
        raise FileError(f"cannot read {snapshot}: {error.strerror}") from error
    for file in chosen:
        if not (snapshot / file).resolve().is_relative_to(folder.resolve()):
            raise FileError(f"{snapshot / file} is a link out of the Hugging Face cache: refused")
    path = snapshot / chosen[0] if chosen[0].endswith(".gguf") else snapshot
    return CachedRepository(path, commit)


def commit_of(path: Path) -> str | None:
    """The commit of a file or folder that `find` returned; None for another path."""
    home = root()
    if home is None or not path.is_relative_to(home):
        return None
    parts = path.relative_to(home).parts
    return parts[2] if len(parts) > 2 and parts[1] == "snapshots" else None


def _commit(folder: Path, revision: str | None) -> str | None:
    if revision is not None and _COMMIT.fullmatch(revision):
        commit: str | None = revision
    elif revision is not None and not re.fullmatch(r"[\w.][\w.-]*(/[\w.][\w.-]*)*", revision):
        return None
    else:
        commit = _read_reference(folder / "refs" / (revision or "main"))
    if commit is None and revision is None:
        snapshots = folder / "snapshots"
        found = [each.name for each in snapshots.iterdir()] if snapshots.is_dir() else []
        commit = found[0] if len(found) == 1 and _COMMIT.fullmatch(found[0]) else None
    return commit if commit and (folder / "snapshots" / commit).is_dir() else None


def _read_reference(path: Path) -> str | None:
    if not path.is_file():
        return None
    text = read_bytes(path, 1000).decode("ascii", "replace").strip()
    return text if _COMMIT.fullmatch(text) else None


def _files(snapshot: Path) -> list[str]:
    """The files of a snapshot by their path there. Folders that are links are not entered."""
    found: list[str] = []
    for folder, _, names in os.walk(snapshot):
        found += [(Path(folder) / name).relative_to(snapshot).as_posix() for name in names]
        if len(found) > _MAX_FILES:
            raise FileError(f"{snapshot} has more than {_MAX_FILES:,} files")
    return sorted(found)
