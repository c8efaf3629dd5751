"""Passes over given tokens that are watched: what goes into each matrix of the layers.

For statistics over a model, in either attention; nothing is pooled or sampled.
The module does not know texts.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gritlite.runtime.llama import Batch, Context, ContextOptions, Weights
from gritlite.runtime.llama.context import MAX_SEQUENCES
from gritlite.runtime.llama.hidden_states import Watch


class Observer:
    """Runs passes of at most `pass_tokens` tokens. Not thread-safe."""

    def __init__(
        self, weights: Weights, watch: Watch, *, causal: bool, pass_tokens: int, threads: int
    ) -> None:
        options = ContextOptions(
            n_ctx=pass_tokens,
            n_batch=pass_tokens,
            threads=threads,
            n_seq_max=min(pass_tokens, MAX_SEQUENCES),
            causal=causal,
            hidden=True,
        )
        self._context = Context(weights, options, watch)

    def run(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One pass over token sequences that do not see each other.

        Returns the final hidden states of all tokens, float32 [n, n_embd]. Raises
        what `watch` raises.
        """
        self._context.clear()
        return self._context.decode(Batch.of(sequences, [0] * len(sequences)))

    def close(self) -> None:
        """Free the context."""
        self._context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
