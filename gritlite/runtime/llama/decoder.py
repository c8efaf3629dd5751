"""The `Decoder` of llama.cpp: one sequence in a context.

Batches are padded to a full tile where that is faster (`batch_padding`). In a context of its
own, a state is appended by restoring it into a second sequence, shifting it to its position
there, and moving it to the first. Beside others (`decoders`) a sequence has cells of its own,
to which none can be moved: there the whole sequence is restored again.
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
from gritlite.system.watch import Flag

_SCRATCH = 1  # the sequence in which a restored state is shifted


def open_lone_decoder(
    weights: Weights, capacity: int, batch_tokens: int, threads: int, *, all_logits: bool
) -> "LlamaDecoder":
    """Return a decoder in a context of its own. Raises OutOfMemoryError."""
    options = ContextOptions(
        n_ctx=capacity,
        n_batch=batch_tokens,
        threads=threads,
        n_seq_max=_SCRATCH + 1,
        all_logits=all_logits,
    )
    return LlamaDecoder(Context(weights, options), 0, capacity)


class LlamaDecoder:
    """Evaluates one sequence of a context. Not thread-safe.

    `length` is the number of tokens in the sequence.
    """

    def __init__(self, context: Context, sequence: int, capacity: int) -> None:
        self.capacity = capacity
        self.batch_tokens = context.options.n_batch
        self.length = 0
        self._weights = context.weights
        self._context = context
        self._sequence = sequence
        self._streams = 1 if context.options.unified else context.options.n_seq_max
        self._rotates_next = False  # the next pass rotates the keys of states that were moved

    def evaluate(
        self,
        tokens: Sequence[int],
        start: int,
        outputs: NDArray[np.bool_],
        attention: Attention = "causal",
        cancel: Flag | None = None,
    ) -> None:
        """Evaluate tokens at positions from `start` on, with logits for `outputs`, bool [n].

        Raises CancelledError within a node of the graph of `cancel` being set.
        """
        count = len(tokens)
        if attention == "causal":
            padded = padded_count(count, start, self._weights)
            fits = padded <= self.batch_tokens and start + padded <= self.capacity
            count = padded if fits else count
        padding = count - len(tokens)
        batch = Batch(
            tokens=np.array([*tokens, *[tokens[-1]] * padding], np.int32),
            positions=np.arange(start, start + count, dtype=np.int32),
            sequences=np.full(count, self._sequence, np.int32),
            outputs=np.append(outputs, np.zeros(padding, np.bool_)),
        )
        with nullcontext() if attention == "causal" else self._context.bidirectional():
            self._context.decode(batch, cancel)
        self._rotates_next = False
        self.length = start + len(tokens)
        if padding:
            self.truncate(self.length)

    def truncate(self, length: int) -> None:
        """Remove the tokens at positions from `length` on."""
        self.length = length
        if length or self._streams > 1:
            self._context.remove(self._sequence, length)
        else:
            self._context.clear()

    def restore(self, state: KeyValues, start: int = 0, *, rotated_for: int = 0) -> None:
        """Append a state at the positions from `start` on."""
        if start == rotated_for == 0:
            self._replace(state)
        elif self._streams == 1:
            self._context.restore(_SCRATCH, write_sequence(state, rotated_for))
            if start != rotated_for:
                self._context.shift(_SCRATCH, start - rotated_for)
                self._rotates_next = True
            self._context.join(_SCRATCH, self._sequence)
        else:
            before = self.state() if start else None
            if start != rotated_for:
                state = self._rotated(state, rotated_for, start)
            self._replace(state if before is None else before.followed_by(state))
        self.length = start + state.tokens

    def _replace(self, state: KeyValues, first: int = 0) -> None:
        data = write_sequence(state, first, streams=self._streams)
        self._context.restore(self._sequence, data)

    def _rotated(self, state: KeyValues, rotated_for: int, start: int) -> KeyValues:
        """Return a state with its keys rotated for the positions from `start` on."""
        self._replace(state, rotated_for)
        self._context.shift(self._sequence, start - rotated_for)
        end = start + state.tokens
        self.evaluate([0], end, np.zeros(1, np.bool_))  # rotates before it evaluates
        self.truncate(end)
        return self._read(start)

    def state(self) -> KeyValues:
        """Return a copy of the keys and values of the whole sequence."""
        found = self._read()
        if not self._rotates_next or found.tokens == self.capacity:
            return found
        self.evaluate([0], found.tokens, np.zeros(1, np.bool_))
        self.truncate(found.tokens)
        return self.state()

    def _read(self, first: int = 0) -> KeyValues:
        data = self._context.save(self._sequence)
        return read_sequence(data, self._weights.head_dims, streams=self._streams, first=first)

    def logits(self, count: int) -> Logits:
        """Return the last call's logits, float32 [count, n_vocab]; the next overwrites them."""
        return self._context.logits(count)

    def close(self) -> None:
        """Free the context."""
        self._context.close()
