"""What a runtime's loaded graph is: padded sequences in; hidden states, keys and values out."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gritlite.prompt import Attention

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LayerStates:
    """One layer's keys, after rotation, and values: float32 [batch, kv_heads, tokens, width]."""

    keys: Floats = field(repr=False)
    values: Floats = field(repr=False)


@dataclass(eq=False)
class Memory:
    """The keys and values of one sequence, with room for more tokens. Not thread-safe.

    The arrays of `layers` are [1, kv_heads, capacity, width] and contiguous; their first
    `tokens` tokens are known.
    """

    layers: tuple[LayerStates, ...]
    tokens: int = 0

    def between(self, first: int, last: int) -> list[LayerStates]:
        """Return views of the tokens from `first` to before `last`, one for each layer."""
        return [
            LayerStates(layer.keys[:, :, first:last], layer.values[:, :, first:last])
            for layer in self.layers
        ]


class Session(Protocol):
    """A graph loaded by a runtime. Not thread-safe.

    `part_tokens` is the number of tokens in one call of `extend` that is fastest.
    """

    part_tokens: int

    def run(
        self,
        embeddings: Floats,
        lengths: NDArray[np.int32],
        attention: Attention,
        *,
        past: Sequence[LayerStates] = (),
        return_states: bool = False,
        cancel: threading.Event | None = None,
    ) -> tuple[Floats, list[LayerStates]]:
        """Evaluate sequences, padded at the end.

        `embeddings` is float32 [batch, tokens, width], and `lengths`, int32 [batch], the
        tokens of each sequence. `past` are the keys and values of each layer before these
        tokens, for causal attention and a batch of one. Returns the hidden states, float32
        [batch, tokens, width], and with `return_states` each layer's keys and values of
        these tokens. `cancel` ends the pass within one operation of the graph, as Ctrl-C does.

        Raises CancelledError, OutOfMemoryError, and LibraryError if the runtime fails.
        """

    def extend(self, embeddings: Floats, memory: Memory) -> None:
        """Evaluate the next tokens of one sequence causally.

        `embeddings` is float32 [1, tokens, width]. The tokens' keys and values are written
        behind those in `memory`, which must have room for them. Raises as `run`.
        """

    def close(self) -> None:
        """Free the memory."""
