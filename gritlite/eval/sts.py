"""Semantic textual similarity: the correlation of cosines with human scores.

Reads the files of the STS Benchmark (Cer et al. 2017): tab-separated, unquoted,
the score in column 5 and the texts in columns 6 and 7; further columns name sources.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gritlite.errors import FormatError
from gritlite.eval.encoder import Encoder, Texts, embed
from gritlite.eval.measures import spearman
from gritlite.eval.task import Score, spread
from gritlite.system.progress import ProgressCallback
from gritlite.system.textfiles import read_lines


@dataclass(frozen=True)
class _Pair:
    place: str
    score: float
    first: str
    second: str


class STS:
    """Spearman's correlation of the pairs' cosines with their scores.

    Both texts are embedded with `instruction`. Raises FileError, and FormatError
    with the line that is wrong.
    """

    def __init__(self, path: Path, *, instruction: str = "", limit: int | None = None) -> None:
        self.name = f"sts {path.name}"
        self._instruction = instruction
        self._pairs = spread(list(_read(path)), limit)
        if len({pair.score for pair in self._pairs}) < 2:
            raise FormatError(f"{path}: no two pairs with different scores to compare")

    def run(self, model: Encoder, progress: ProgressCallback) -> list[Score]:
        """Measure the model."""
        places = [pair.place for pair in self._pairs]
        embedded = embed(
            model,
            [
                Texts([pair.first for pair in self._pairs], places, self._instruction),
                Texts([pair.second for pair in self._pairs], places, self._instruction),
            ],
            progress,
        )
        first, second = embedded.vectors
        cosines = (first * second).sum(axis=1)
        value = spearman([pair.score for pair in self._pairs], cosines)
        return [Score(self.name, "Spearman", value, len(self._pairs), embedded.note)]


def _read(path: Path) -> Iterator[_Pair]:
    for place, line in read_lines(path):
        columns = line.split("\t")
        if len(columns) < 7:
            raise FormatError(
                f"{place}: {len(columns)} tab-separated columns: expected the score in "
                "column 5 and the texts in columns 6 and 7"
            )
        yield _Pair(place, _score(columns[4], place), columns[5], columns[6])


def _score(text: str, place: str) -> float:
    try:
        score = float(text)
    except ValueError as error:
        raise FormatError(f"{place}: the score {text!r} is not a number") from error
    if not math.isfinite(score):
        raise FormatError(f"{place}: the score {text!r} is not finite")
    return score
