"""A folder as an archive cut into parts that a transfer takes, and back.

Parts are called NAME-DIGEST.1-of-3, so that those of two archives are never
mixed. Needs nothing but Python.
"""

import gzip
import hashlib
import re
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from gritlite.errors import FileError, FormatError

_NAME = re.compile(r"(?P<stem>(?P<kind>[a-z]+)-[0-9a-f]{16})\.(?P<number>\d+)-of-(?P<count>\d+)")


def archive(folder: Path, path: Path, level: int = 6) -> None:
    """Everything in `folder` as one compressed archive; the same files give the same bytes."""
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", level, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for member in sorted(folder.rglob("*")):
            tar.add(member, member.relative_to(folder), recursive=False, filter=_plain)


def cut(path: Path, folder: Path, kind: str, size: int, *, apart: bool = False) -> list[Path]:
    """Cut a file into parts of `size` bytes in `folder`; with `apart` each in a folder of its own.

    Parts of the kind that lie there are removed.
    """
    for old in [part for part in folder.rglob(f"{kind}-*") if _NAME.fullmatch(part.name)]:
        old.unlink()
    count = max(1, -(-path.stat().st_size // size))
    stem = f"{kind}-{_digest([path])}"
    parts = []
    with path.open("rb") as file:
        for number in range(1, count + 1):
            place = folder / str(number) if apart else folder
            place.mkdir(parents=True, exist_ok=True)
            parts.append(place / f"{stem}.{number}-of-{count}")
            parts[-1].write_bytes(file.read(size))
    return parts


def keep(given: Iterable[Path], store: Path) -> None:
    """Copy parts, given as files or as folders of them, into `store`.

    Of a kind only one archive is kept: that of the newest part. Raises FileError for what
    is no part.
    """
    for path in given:
        found = [path] if path.is_file() else sorted(path.glob("*-of-*"))
        parts = [part for part in found if _NAME.fullmatch(part.name)]
        if not parts:
            raise FileError(f"{path} holds no part: make them with scripts/gpu/pack")
        store.mkdir(parents=True, exist_ok=True)
        for part in parts:
            for other in store.glob(f"{part.name.partition('-')[0]}-*"):
                if other.name.partition(".")[0] != part.name.partition(".")[0]:
                    shutil.rmtree(other) if other.is_dir() else other.unlink()
            if part.resolve() != (store / part.name).resolve():
                shutil.copyfile(part, store / part.name)


def missing(store: Path, kind: str) -> list[str]:
    """The names of the parts that are not in `store` yet; all are unknown without a first one."""
    names = [match for p in store.glob(f"{kind}-*") if (match := _NAME.fullmatch(p.name))]
    if not names:
        return [f"every part of {kind}"]
    count = int(names[0]["count"])
    here = {int(match["number"]) for match in names}
    return [f"{kind} part {n} of {count}" for n in range(1, count + 1) if n not in here]


def join(store: Path, kind: str) -> Path | None:
    """What all parts of a kind in `store` hold, as a folder beside them; None where there are none.

    Raises FormatError when the bytes are not those that were cut.
    """
    parts = [path for path in store.glob(f"{kind}-*") if _NAME.fullmatch(path.name)]
    if not parts:
        return None
    parts.sort(key=lambda part: int(part.suffix[1:].partition("-")[0]))
    stem = parts[0].name.partition(".")[0]
    folder = store / stem
    if folder.exists():
        return folder
    if _digest(parts) != stem.rpartition("-")[2]:
        raise FormatError(f"the parts of {stem} are damaged: bring them again")
    partial = store / f".{stem}"
    whole = store / f".{stem}.tar.gz"
    with whole.open("wb") as file:
        for part in parts:
            file.write(part.read_bytes())
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(whole) as tar:
        tar.extractall(partial, filter="data")
    whole.unlink()
    partial.rename(folder)
    return folder


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from machine to machine."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member
