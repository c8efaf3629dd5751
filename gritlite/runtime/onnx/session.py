"""What a runtime's loaded graph is: padded sequences in; hidden states, keys and values out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gritlite.prompt import Attention
from gritlite.system.watch import Flag

Floats = NDArray[np.float32]
States = NDArray[np.floating[Any]]  # float32; float16 of a graph that computes in it


@dataclass(frozen=True)
class LayerStates:
    """One layer's keys, after rotation, and values: [batch, kv_heads, tokens, width]."""

    keys: States = field(repr=False)
    values: States = field(repr=False)


@dataclass(eq=False)
class Memory:
    """The keys and values of one sequence, with room for more tokens. Not thread-safe.

    The arrays of `layers` are [1, kv_heads, capacity, width] and contiguous; their first
    `tokens` tokens are known. `held` is what a session keeps of them on its device.
    """

    layers: tuple[LayerStates, ...]
    tokens: int = 0
    held: Any = field(default=None, repr=False)

    def between(self, first: int, last: int) -> list[LayerStates]:
        """Return views of the tokens from `first` to before `last`, one for each layer."""
        return [
            LayerStates(layer.keys[:, :, first:last], layer.values[:, :, first:last])
            for layer in self.layers
        ]


class Session(Protocol):
    """A graph loaded by a runtime. Not thread-safe.

    `part_tokens` is the number of tokens in one call of `extend` that is fastest, and
    `state_type` that of all keys and values. The weights are on a GPU if it is `on_device`.
    """

    @property
    def part_tokens(self) -> int:
        """See above."""

    @property
    def state_type(self) -> type[np.floating[Any]]:
        """See above."""

    @property
    def on_device(self) -> bool:
        """See above."""

    def run(
        self,
        embeddings: Floats,
        lengths: NDArray[np.int32],
        attention: Attention,
        *,
        past: Sequence[LayerStates] = (),
        return_states: bool = False,
        cancel: Flag | None = None,
    ) -> tuple[Floats, list[LayerStates]]:
        """Evaluate sequences, padded at the end.

        `embeddings` is float32 [batch, tokens, width], and `lengths`, int32 [batch], the
        tokens of each sequence. `past` are the keys and values of each layer before these
        tokens, for causal attention and a batch of one. Returns the hidden states, float32
        [batch, tokens, width], and with `return_states` each layer's keys and values of
        these tokens. `cancel` ends the pass within one operation of the graph, as Ctrl-C does.

        Raises CancelledError, OutOfMemoryError, and LibraryError if the runtime fails.
        """

    def extend(self, embeddings: Floats, memory: Memory, cancel: Flag | None = None) -> None:
        """Evaluate the next tokens of one sequence causally.

        `embeddings` is float32 [1, tokens, width]. The tokens' keys and values are written
        behind those in `memory`, which must have room for them. `cancel` is that of `run`, which
        tells also what is raised.
        """

    def close(self) -> None:
        """Free the memory."""
