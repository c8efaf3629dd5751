"""A row of an embedding source as the trainer uses it: token ids, and the teacher's targets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gritlite.train.tokens import EmbedTokens

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
