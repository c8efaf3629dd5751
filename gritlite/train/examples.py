"""Sources as the trainer uses them: rows of token ids, each made when it is asked for.

Under them lie the arrays of `packed.py`, in memory or mapped from files, so that millions of token
ids take no more than their own bytes. The module knows nothing of files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import FormatError
from gritlite.train.recipe import Source
from gritlite.train.tokens import EmbedTokens, GenerateTokens

Arrays = dict[str, NDArray[Any]]
# what a text's teacher vector comes from: its words, or the vector itself, int8 [d] of any length
Taught = str | NDArray[np.int8] | None

_ROWS = "the sizes of its rows"


@dataclass(frozen=True)
class TokenizedPair:
    """A row of an embedding source: the query first, then `positives` positives, then negatives.

    `taught` belongs to `texts`, one each; it is None where nothing is distilled.
    """

    texts: tuple[EmbedTokens, ...]
    positives: int
    score: float | None
    taught: tuple[Taught, ...]


class PackedPairs:
    """The rows of an embedding source.

    `taught` are the targets of each row's texts; left out, they are the packed vectors. Raises
    FormatError for arrays that contradict each other.
    """

    def __init__(self, arrays: Arrays, taught: Sequence[tuple[Taught, ...]] | None = None) -> None:
        self._texts = _sequences(arrays)
        self._members = _Groups(arrays["members"], arrays["sizes"], _ROWS)
        self._starts, self._vectors = arrays["starts"], arrays.get("vectors")
        self._positives, self._scores = arrays["positives"], arrays["scores"]
        self._taught = taught
        of_texts = [self._starts] if self._vectors is None else [self._starts, self._vectors]
        of_rows = [self._positives, self._scores]
        _check_counts(len(self._texts), of_texts)
        _check_counts(len(self), of_rows if taught is None else [*of_rows, taught])
        if arrays["members"].max(initial=0) >= len(self._texts):
            raise FormatError("its rows name texts that it does not hold")
        self.highest = int(arrays["ids"].max())  # token
        tokens = np.asarray(arrays["lengths"])[arrays["members"]]
        rows = np.repeat(np.arange(len(self)), arrays["sizes"])
        self.lengths = np.bincount(rows, tokens, len(self)).astype(np.int64)  # of each row

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[TokenizedPair]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> TokenizedPair:
        members, score = self._members[row], float(self._scores[row])
        return TokenizedPair(
            tuple(EmbedTokens(self._texts[text], int(self._starts[text])) for text in members),
            int(self._positives[row]),
            None if np.isnan(score) else score,
            tuple(map(self._vector, members)) if self._taught is None else self._taught[row],
        )

    def _vector(self, text: int) -> NDArray[np.int8] | None:
        return None if self._vectors is None else self._vectors[text]


class PackedSamples:
    """The rows of a generative source. Raises FormatError for arrays that do not add up."""

    def __init__(self, arrays: Arrays) -> None:
        self._ids, self._prompts = _sequences(arrays), _sequences(arrays, "prompt_")
        self._documents = _Groups(arrays["documents"], arrays["sizes"], _ROWS)
        self._learned = arrays["learned"]
        _check_counts(len(self), [self._prompts, self._documents])
        _check_counts(-(-len(arrays["ids"]) // 8), [self._learned])  # a bit for each token
        ids = arrays["ids"], arrays["prompt_ids"]
        self.highest = max(int(each.max(initial=0)) for each in ids)  # token
        self.lengths = np.asarray(arrays["lengths"], np.int64)  # of each row, without its prompt

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[GenerateTokens]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> GenerateTokens:
        start, end = self._ids.span(row)
        bits = np.unpackbits(self._learned[start // 8 : -(-end // 8)])[start % 8 :]
        learned = tuple(bits[: end - start].astype(bool).tolist())
        return GenerateTokens(self._ids[row], learned, self._documents[row], self._prompts[row])


@dataclass(frozen=True)
class Examples:
    """A source in tokens. `left_out` counts rows that were longer than its `max_tokens`."""

    source: Source
    rows: PackedPairs | PackedSamples
    left_out: int


class _Groups:
    """Numbers that lie one after another, in groups of so many each."""

    def __init__(self, values: NDArray[Any], sizes: NDArray[Any], what: str) -> None:
        self._values, self._ends = values, np.cumsum(sizes, dtype=np.int64)
        if self._ends[-1] != len(values):
            raise FormatError(f"{what} do not add up")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: int) -> tuple[int, ...]:
        start, end = self.span(place)
        return tuple(self._values[start:end].tolist())

    def span(self, place: int) -> tuple[int, int]:
        """Where a group begins and ends."""
        return int(self._ends[place - 1]) if place else 0, int(self._ends[place])


def _sequences(arrays: Arrays, prefix: str = "") -> _Groups:
    ids, lengths = arrays[f"{prefix}ids"], arrays[f"{prefix}lengths"]
    return _Groups(ids, lengths, "the lengths of its sequences")


def _check_counts(count: int, each: Sequence[Any]) -> None:
    if any(len(one) != count for one in each):
        raise FormatError("its arrays are not of as many rows or texts each")
