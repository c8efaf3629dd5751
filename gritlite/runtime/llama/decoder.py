"""The `Decoder` of llama.cpp: one sequence in a context.

Batches are padded to a full tile where that is faster (`batch_padding`). A state is restored
into a second sequence, shifted to its position there, and then moved to the first.
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
_SCRATCH = 1  # the sequence in which a restored state is shifted


class LlamaDecoder:
    """Evaluates sequence 0 of a context. Not thread-safe. Raises OutOfMemoryError."""

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
        self._rotates_next = False  # the next pass rotates the keys of states that were moved

    def evaluate(
        self,
        tokens: Sequence[int],
        start: int,
        outputs: NDArray[np.bool_],
        attention: Attention = "causal",
    ) -> None:
        """Evaluate tokens at positions from `start` on, with logits for `outputs`, bool [n]."""
        count = len(tokens)
        if attention == "causal":
            padded = padded_count(count, start, self._weights)
            fits = padded <= self.batch_tokens and start + padded <= self.capacity
            count = padded if fits else count
        padding = count - len(tokens)
        batch = Batch(
            tokens=np.array([*tokens, *[tokens[-1]] * padding], np.int32),
            positions=np.arange(start, start + count, dtype=np.int32),
            sequences=np.zeros(count, np.int32),
            outputs=np.append(outputs, np.zeros(padding, np.bool_)),
        )
        with nullcontext() if attention == "causal" else self._context.bidirectional():
            self._context.decode(batch)
        self._rotates_next = False
        if padding:
            self.truncate(start + len(tokens))

    def truncate(self, length: int) -> None:
        """Remove the tokens at positions from `length` on."""
        if length:
            self._context.remove(0, length)
        else:
            self._context.clear()

    def restore(self, state: KeyValues, start: int = 0, *, rotated_for: int = 0) -> None:
        """Append a state at the positions from `start` on."""
        data = write_sequence(state, rotated_for)
        if start == rotated_for == 0:
            self._context.restore(0, data)
            return
        self._context.restore(_SCRATCH, data)
        if start != rotated_for:
            self._context.shift(_SCRATCH, start - rotated_for)
            self._rotates_next = True
        self._context.join(_SCRATCH, 0)

    def state(self) -> KeyValues:
        """Return a copy of the keys and values of the whole sequence."""
        found = read_sequence(self._context.save(0), self._weights.head_dims)
        if not self._rotates_next or found.tokens == self.capacity:
            return found
        self.evaluate([0], found.tokens, np.zeros(1, np.bool_))
        self.truncate(found.tokens)
        return self.state()

    def logits(self, count: int) -> Logits:
        """Return the last call's logits, float32 [count, n_vocab]; the next overwrites them."""
        return self._context.logits(count)

    def close(self) -> None:
        """Free the context."""
        self._context.close()
