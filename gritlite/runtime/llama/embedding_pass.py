"""Packed passes in a llama.cpp context: an engine's `EmbeddingPass`.

A watched pass also shows what goes into each matrix of the layers.
"""

from collections.abc import Sequence

from gritlite.prompt import Attention
from gritlite.runtime.engine import HiddenStates, KeyValues, Tokens
from gritlite.runtime.llama.context import MAX_SEQUENCES, Batch, Context, ContextOptions
from gritlite.runtime.llama.hidden_states import Watch
from gritlite.runtime.llama.sequence_state import read_sequence
from gritlite.runtime.llama.weights import Weights


class LlamaPass:
    """A context for passes of up to `capacity` tokens. Not thread-safe. Raises OutOfMemoryError."""

    def __init__(
        self,
        weights: Weights,
        capacity: int,
        attention: Attention,
        threads: int,
        watch: Watch | None = None,
    ) -> None:
        self.capacity = capacity
        options = ContextOptions(
            n_ctx=capacity,
            n_batch=capacity,
            threads=threads,
            n_seq_max=min(capacity, MAX_SEQUENCES),
            causal=attention == "causal",
            hidden=True,
        )
        self._weights = weights
        self._context = Context(weights, options, watch)

    def run(
        self, sequences: Sequence[Tokens], starts: Sequence[int], *, keep: bool = False
    ) -> tuple[HiddenStates, list[KeyValues]]:
        """Hidden states from each sequence's start on, and with `keep` all keys and values.

        The pass ends before the output head, but after every layer has written its keys and
        values. Raises what the watch raises.
        """
        self._context.clear()
        hidden = self._context.decode(Batch.of(sequences, starts))
        return hidden, [self._state(number) for number in range(len(sequences)) if keep]

    def _state(self, sequence: int) -> KeyValues:
        return read_sequence(self._context.save(sequence), self._weights.head_dims)

    def close(self) -> None:
        """Free the context."""
        self._context.close()
