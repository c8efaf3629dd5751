"""Sources as the trainer uses them: rows of token ids, and the teacher's targets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gritlite.train.recipe import Source
from gritlite.train.tokens import EmbedTokens, GenerateTokens

# what a text's teacher vector comes from: its words, or the vector itself, int8 [d] of any length
Taught = str | NDArray[np.int8] | None


@dataclass(frozen=True)
class TokenizedPair:
    """A row of an embedding source: the query first, then `positives` positives, then negatives.

    `taught` belongs to `texts`, one each; it is None where nothing is distilled.
    """

    texts: tuple[EmbedTokens, ...]
    positives: int
    score: float | None
    taught: tuple[Taught, ...]


@dataclass(frozen=True)
class Examples:
    """A source in tokens. `left_out` counts rows that were longer than its `max_tokens`."""

    source: Source
    rows: tuple[TokenizedPair, ...] | tuple[GenerateTokens, ...]
    left_out: int

    @property
    def lengths(self) -> list[int]:
        """The number of tokens in each row."""
        return [
            sum(len(text.ids) for text in row.texts)
            if isinstance(row, TokenizedPair)
            else len(row.ids)
            for row in self.rows
        ]

    @property
    def sequences(self) -> list[EmbedTokens] | list[GenerateTokens]:
        """The texts of all pairs, or the samples."""
        if isinstance(self.rows[0], TokenizedPair):
            return [
                text for row in self.rows if isinstance(row, TokenizedPair) for text in row.texts
            ]
        return [row for row in self.rows if isinstance(row, GenerateTokens)]
