"""Checks that what an engine computed are numbers: a damaged or overflowing model gives NaN.

Each check returns what it was given, or raises NotFiniteError.
"""

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import NotFiniteError
from gritlite.runtime.engine import KeyValues, Logits


def check_vectors(vectors: NDArray[np.float32], first: int) -> NDArray[np.float32]:
    """Check vectors [n, d] of texts that are numbered from `first`, which is counted from 0."""
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        index = first + int(wrong[0])
        raise NotFiniteError(f"the vector of text {index + 1}", index)
    return vectors


def check_logits(logits: Logits) -> Logits:
    """Check logits of one or more tokens; minus infinity is allowed."""
    if logits.size and not np.isfinite(logits.max()):  # the maximum is NaN if any of them is
        raise NotFiniteError("the logits of the next token")
    return logits


def check_state(state: KeyValues) -> KeyValues:
    """Check the last layer, to which NaN in any layer spreads."""
    if not (np.isfinite(state.keys[-1]).all() and np.isfinite(state.values[-1]).all()):
        raise NotFiniteError("a key-value state")
    return state
