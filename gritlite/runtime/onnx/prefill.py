"""The `Prefill` of the graph engine: one sequence, read part by part for a decoder.

Keys and values stay in memory as float32, as the graph reads and writes them, until the
sequence is closed.
"""

from collections.abc import Sequence

import numpy as np

from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.modelfile.hyperparameters import Hyperparameters
from gritlite.quant.float16 import to_float32
from gritlite.runtime.engine import KeyValues
from gritlite.runtime.onnx.embedding_pass import key_values
from gritlite.runtime.onnx.session import Floats, LayerStates, Memory, Session
from gritlite.system.machine import check_free_memory


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
        self._memory = _allocate(sizes, tokens)
        if before is not None:
            _fill(self._memory, before, factors)

    def evaluate(self, tokens: Sequence[int]) -> KeyValues:
        """See Prefill."""
        first = self._memory.tokens
        self._session.extend(self._table.rows(np.array(tokens, np.int32))[None], self._memory)
        new = self._memory.between(first, self._memory.tokens)
        return key_values(new, 0, len(tokens), self._factors)

    def close(self) -> None:
        """Free the keys and values."""
        self._memory = Memory(())


def _allocate(sizes: Hyperparameters, tokens: int) -> Memory:
    shape = (1, sizes.kv_heads[0], tokens, sizes.key_width)
    need = 2 * sizes.layers * int(np.prod(shape)) * np.dtype(np.float32).itemsize
    check_free_memory(need, f"reading a prompt of {tokens} tokens", "shorten it")
    layers = range(sizes.layers)
    return Memory(
        tuple(LayerStates(np.empty(shape, np.float32), np.empty(shape, np.float32)) for _ in layers)
    )


def _fill(memory: Memory, state: KeyValues, factors: Sequence[Floats] | None) -> None:
    for number, layer in enumerate(memory.between(0, state.tokens)):
        layer.keys[0] = to_float32(state.keys[number]).transpose(1, 0, 2)
        values = to_float32(state.values[number])
        if factors is not None:
            values /= factors[number]
        layer.values[0] = values.transpose(1, 0, 2)
    memory.tokens = state.tokens
