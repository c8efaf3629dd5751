"""The `Prefill` of the graph engine: one sequence, read part by part for a decoder.

Keys and values stay in memory as the graph reads and writes them, float32 on the processor and
float16 on a GPU, until the sequence is closed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.modelfile.hyperparameters import Hyperparameters
from gritlite.quant.float16 import to_float32
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.onnx.embedding_pass import key_values
from gritlite.runtime.onnx.session import Floats, LayerStates, Memory, Session, States
from gritlite.system.machine import check_free_memory
from gritlite.system.watch import Flag


class GraphPrefill:
    """Evaluates a sequence of up to `tokens` tokens. Not thread-safe.

    It begins with the state `before`, if there is one. `factors` are those of `GraphPass`.
    Raises OutOfMemoryError.
    """

    def __init__(
        self,
        session: Session,
        table: TokenEmbeddings,
        sizes: Hyperparameters,
        before: KeyValues | None,
        tokens: int,
        factors: Sequence[Floats] | None,
    ) -> None:
        self.part_tokens = session.part_tokens
        self._session, self._table, self._factors = session, table, factors
        self._memory = _allocate(sizes, tokens, session.state_type)
        if before is not None:
            _fill(self._memory, before, factors)

    def evaluate(self, tokens: Sequence[int], cancel: Flag | None = None) -> KeyValues:
        """See Prefill."""
        first = self._memory.tokens
        rows = self._table.rows(np.array(tokens, np.int32))[None]
        self._session.extend(rows, self._memory, cancel)
        new = self._memory.between(first, self._memory.tokens)
        return key_values(new, 0, len(tokens), self._factors)

    def close(self) -> None:
        """Free the keys and values."""
        self._memory = Memory(())


def _allocate(sizes: Hyperparameters, tokens: int, state_type: type[np.floating[Any]]) -> Memory:
    shape = (1, sizes.kv_heads[0], tokens, sizes.key_width)
    need = 2 * sizes.layers * int(np.prod(shape)) * np.dtype(state_type).itemsize
    check_free_memory(need, f"reading a prompt of {tokens} tokens", "shorten it")
    layers = range(sizes.layers)
    return Memory(
        tuple(LayerStates(np.empty(shape, state_type), np.empty(shape, state_type)) for _ in layers)
    )


def _fill(memory: Memory, state: KeyValues, factors: Sequence[Floats] | None) -> None:
    for number, layer in enumerate(memory.between(0, state.tokens)):
        keys: States = state.keys[number]
        values: States = state.values[number]
        if layer.keys.dtype != np.float16:
            keys, values = to_float32(state.keys[number]), to_float32(state.values[number])
        if factors is not None:
            values = values / factors[number]
        layer.keys[0], layer.values[0] = keys.transpose(1, 0, 2), values.transpose(1, 0, 2)
    memory.tokens = state.tokens
