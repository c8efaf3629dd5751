"""The fingerprint of a loaded model's file, computed when it is first needed.

Reading a file whole takes a second for each half gigabyte on a slow machine, so the result is
kept in the cache, with the file's size, times, inode and device: when one of them changes, the
file is read again. The module does not know what fingerprints are used for.
"""

import hashlib
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from gritlite.errors import FileError
from gritlite.modelfile.fingerprint import fingerprint, sampled_fingerprint
from gritlite.modelfile.header import GGUFFile
from gritlite.system import cache
from gritlite.system.progress import ProgressCallback, no_progress

_MOST_RECORDS = 500  # files whose fingerprints are kept
_RACE_NS = 2_000_000_000  # a file changed so shortly before it was read may change unnoticed


@dataclass(frozen=True)
class Stamp:
    """What changes with a file."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        """The stamp of a file, None if there is none."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            status.st_dev,
        )


class ModelIdentity:
    """The fingerprints of a file; made when the file is loaded."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file
        self._loaded = Stamp.of(file.path)
        self._fingerprint = ""

    def fingerprint(self, progress: ProgressCallback = no_progress) -> str:
        """The fingerprint of all bytes; `progress` counts them.

        Raises FileError for a file that cannot be read, or has changed since it was loaded.
        """
        if not self._fingerprint:
            self.check_unchanged()
            self._fingerprint = self.known() or self._read(progress)
        return self._fingerprint

    def _read(self, progress: ProgressCallback) -> str:
        start = time.time_ns()
        found = fingerprint(self._file.path, progress)
        self.check_unchanged()
        self._keep(found, start)
        return found

    def sampled(self) -> str:
        """The fingerprint that earlier versions would compute. Raises as `fingerprint`."""
        self.check_unchanged()
        return sampled_fingerprint(self._file)

    def check_unchanged(self) -> None:
        """Raise FileError if the file has changed since it was loaded."""
        if Stamp.of(self._file.path) != self._loaded:
            raise FileError(
                f"{self._file.path} was changed or moved after it was loaded: load it again"
            )

    def known(self) -> str | None:
        """The fingerprint, if the cache has that of the file as it is; the file is not read."""
        kept = cache.read_record(*self._record())
        if not isinstance(kept, dict) or self._loaded is None:
            return None  # none is kept, or it is damaged
        known = kept.get("fingerprint")
        is_current = kept.get("stamp") == asdict(self._loaded)
        return known if is_current and isinstance(known, str) else None

    def _keep(self, known: str, start_ns: int) -> None:
        if self._loaded is None:
            return
        if max(self._loaded.mtime_ns, self._loaded.ctime_ns) >= start_ns - _RACE_NS:
            return
        kept = {"stamp": asdict(self._loaded), "fingerprint": known}
        cache.keep_record(kept, *self._record(), most=_MOST_RECORDS)

    def _record(self) -> tuple[str, str]:
        """Where the fingerprint is kept in the cache."""
        name = hashlib.sha256(os.fsencode(self._file.path.absolute())).hexdigest()
        return "fingerprints", f"{name}.json"
