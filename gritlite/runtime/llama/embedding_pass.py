"""The `EmbeddingPass` of llama.cpp: packed passes in a context.

A pass can also report the inputs of each matrix of the layers (`watch`).
"""

from collections.abc import Sequence

from gritlite.prompt import Attention
from gritlite.runtime.engine import HiddenStates, KeyValues, Tokens
from gritlite.runtime.llama.context import MAX_SEQUENCES, Batch, Context, ContextOptions
from gritlite.runtime.llama.hidden_states import Watch
from gritlite.runtime.llama.sequence_state import read_sequence
from gritlite.runtime.llama.weights import Weights
from gritlite.system.watch import Flag


class LlamaPass:
    """Runs passes of up to `capacity` tokens. Not thread-safe. Raises OutOfMemoryError."""

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
        self,
        sequences: Sequence[Tokens],
        starts: Sequence[int],
        *,
        return_states: bool = False,
        cancel: Flag | None = None,
    ) -> tuple[HiddenStates, list[KeyValues]]:
        """Return hidden states from each start on, and with `return_states` keys and values.

        The pass ends before the output head, after every layer has written its keys and
        values. Raises CancelledError soon after `cancel` is set, and the errors of `watch`.
        """
        self._context.clear()
        hidden = self._context.decode(Batch.of(sequences, starts), cancel)
        return hidden, [self._state(number) for number in range(len(sequences)) if return_states]

    def _state(self, sequence: int) -> KeyValues:
        return read_sequence(self._context.save(sequence), self._weights.head_dims)

    def close(self) -> None:
        """Free the context."""
        self._context.close()
