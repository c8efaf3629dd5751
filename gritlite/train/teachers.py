"""The teachers of a recipe: their vectors of texts are made once, and kept for other runs.

A teacher's file of vectors is named after its folder, a digest of what is in it, and the precision
of its products. Several teachers speak as one: a text's vectors are put one behind another, each
times the root of its teacher's share, so that a product of two of these is the mean of the
teachers' similarities.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gritlite.errors import FileError, UsageError
from gritlite.system.files import sha256
from gritlite.system.locks import exclusive
from gritlite.train.model import precision
from gritlite.train.recipe import TeacherShare
from gritlite.train.teacher import Teacher, check_folder, passes
from gritlite.train.vector_file import VectorFile
from gritlite.train.workers import Workers


class Teachers:
    """The teachers whose folders are relative to `folder`, and their vectors in the folder `kept`.

    Raises FileError for a teacher's folder that is none, and what opening a file of vectors raises.
    """

    def __init__(
        self, teachers: Sequence[TeacherShare], folder: Path, kept: Path, device: torch.device
    ) -> None:
        self._device, self._kept = device, kept
        self._workers = Workers.of_this_machine() if device.type == "cpu" else Workers(1)
        self._dtype = precision(device)
        self._folders = [folder / teacher.folder for teacher in teachers]
        shares = np.array([teacher.share for teacher in teachers])
        self._weights = np.sqrt(shares / shares.sum())
        self._files = [VectorFile(kept / self._name(each)) for each in self._folders]

    def missing(self, texts: Sequence[str]) -> int:
        """Count the vectors that `prepare` would make."""
        different = set(texts)
        return sum(text not in file for file in self._files for text in different)

    def prepare(self, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Make the vectors that are missing; yield how many are made, and of how many.

        What was made before the caller stops is kept. Raises ArchitectureError for a teacher that
        cannot be loaded, FileError if the folder cannot be written, and UsageError if another run
        is making vectors there.
        """
        if not self.missing(texts):
            return
        with self._locked():
            for file in self._files:
                file.refresh()  # another run may have made some before we had the lock
            done, total = 0, self.missing(texts)
            for folder, file in zip(self._folders, self._files, strict=True):
                missing = {text for text in texts if text not in file}
                for made in self._make(missing, folder, file) if missing else ():
                    done += made
                    yield done, total

    def _make(self, texts: Iterable[str], folder: Path, file: VectorFile) -> Iterator[int]:
        teacher = Teacher(folder, self._device, self._dtype)
        ordered = sorted(texts, key=lambda text: (len(text), text))  # a pass has little padding
        blocks = passes(ordered)
        made = self._workers.map(lambda block: teacher.vectors(block).cpu().numpy(), blocks)
        for block, vectors in zip(blocks, made, strict=True):
            file.append(block, vectors)
            yield len(block)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of unit length [n, d] of texts that are prepared."""
        parts = [file.vectors(texts) for file in self._files]
        return np.concatenate(
            [
                part * (weight / np.linalg.norm(part, axis=1, keepdims=True))
                for part, weight in zip(parts, self._weights, strict=True)
            ],
            axis=1,
            dtype=np.float32,
        )

    def _name(self, teacher: Path) -> str:
        check_folder(teacher)
        digest = hashlib.sha256()
        for path in sorted(teacher.iterdir()):
            if path.is_file():
                digest.update(f"{path.name} {sha256(path)}\n".encode())
        precise = str(self._dtype).removeprefix("torch.")
        return f"{teacher.resolve().name}-{digest.hexdigest()[:12]}-{precise}.vectors"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        def refuse() -> None:
            raise UsageError(
                f"another run is making teachers' vectors in {self._kept}: wait until it trains"
            )

        try:
            self._kept.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot create {self._kept}: {error.strerror}") from error
        with exclusive(self._kept / "lock", waiting=refuse):
            yield
