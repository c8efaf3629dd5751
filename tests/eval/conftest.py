"""An encoder whose vectors a test chooses, and test sets written by hand."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pytest

from gritlite.errors import EmptyTextError
from gritlite.runtime.embed import Vectors


class ChosenVectors:
    """An `Encoder` that looks texts up. It remembers the instruction of every text."""

    max_length = 8
    cut = 0

    def __init__(self, vectors: Mapping[str, Sequence[float]]) -> None:
        self._vectors = vectors
        self.instructions: dict[str, str] = {}

    def stream(
        self, texts: Sequence[str], instruction: str, progress: Callable[[int], None]
    ) -> Iterator[Vectors]:
        del progress
        for index, text in enumerate(texts):
            if not text:
                raise EmptyTextError("empty", index)
            self.instructions[text] = instruction
            self.cut += len(text) > 100
            vector = np.array([self._vectors[text]], np.float32)
            yield vector / np.linalg.norm(vector)


@pytest.fixture
def chosen() -> type[ChosenVectors]:
    return ChosenVectors


class Steps:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))


@pytest.fixture
def steps() -> Steps:
    return Steps()
