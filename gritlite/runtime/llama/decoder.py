"""One sequence in a llama.cpp context: an engine's `Decoder`.

A batch of somewhat fewer tokens than llama.cpp's fast path wants is padded with tokens that
nothing sees. A restored state is moved to its place in a second sequence beside the first.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from gritlite.prompt import Attention
from gritlite.runtime.engine import KeyValues, Logits
from gritlite.runtime.llama.batch_padding import padded_count
from gritlite.runtime.llama.context import Batch, Context, ContextOptions
from gritlite.runtime.llama.sequence_state import read_sequence, write_sequence
from gritlite.runtime.llama.weights import Weights

_SEQUENCES = 2
_BESIDE = 1  # the sequence in which a restored state is moved


class LlamaDecoder:
    """Sequence 0 of a context. Not thread-safe. Raises OutOfMemoryError."""

    def __init__(
        self, weights: Weights, capacity: int, batch_tokens: int, threads: int, *, all_logits: bool
    ) -> None:
        self.capacity = capacity
        self.batch_tokens = batch_tokens
        options = ContextOptions(
            n_ctx=capacity,
            n_batch=batch_tokens,
            threads=threads,
            n_seq_max=_SEQUENCES,
            all_logits=all_logits,
        )
        self._weights = weights
        self._context = Context(weights, options)

    def evaluate(
        self,
        tokens: Sequence[int],
        start: int,
        outputs: NDArray[np.bool_],
        attention: Attention = "causal",
    ) -> None:
        """Evaluate tokens at the positions from `start` on; `outputs`, bool [n], get logits."""
        count = len(tokens)
        if attention == "causal":
            padded = padded_count(count, start, self._weights)
            count = padded if start + padded <= self.capacity else count
        padding = count - len(tokens)
        batch = Batch(
            tokens=np.array([*tokens, *[tokens[-1]] * padding], np.int32),
            positions=np.arange(start, start + count, dtype=np.int32),
            sequences=np.zeros(count, np.int32),
            outputs=np.append(outputs, np.zeros(padding, np.bool_)),
        )
        with nullcontext() if attention == "causal" else self._context.bidirectional():
            self._context.decode(batch)
        if padding:
            self.truncate(start + len(tokens))

    def truncate(self, length: int) -> None:
        """Forget the tokens at positions from `length` on."""
        if length:
            self._context.forget(0, length)
        else:
            self._context.clear()

    def restore(self, state: KeyValues, start: int = 0, *, rotated_for: int = 0) -> None:
        """Put a state at the positions from `start` on, behind what stands before."""
        data = write_sequence(state, rotated_for)
        if start == rotated_for == 0:
            self._context.restore(0, data)
            return
        self._context.restore(_BESIDE, data)
        self._context.shift(_BESIDE, start - rotated_for)
        self._context.join(_BESIDE, 0)

    def state(self) -> KeyValues:
        """Copy the keys and values of the whole sequence."""
        return read_sequence(self._context.save(0), self._weights.head_dims)

    def logits(self, count: int) -> Logits:
        """Logits of the last call's `count` outputs, float32 [count, n_vocab], overwritten next."""
        return self._context.logits(count)

    def close(self) -> None:
        """Free the context."""
        self._context.close()
