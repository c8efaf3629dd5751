"""The `EmbeddingPass` of the graph engine: sequences padded to the longest of a batch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gritlite.graph.embeddings import TokenEmbeddings
from gritlite.prompt import Attention
from gritlite.quant.float16 import to_float16
from gritlite.runtime.engine import HiddenStates, KeyValues, Tokens
from gritlite.runtime.onnx.session import Floats, LayerStates, Session, States
from gritlite.system.watch import Flag


class GraphPass:
    """Runs passes of up to `capacity` tokens, padding included. Not thread-safe.

    `value_factors` are what each layer's values are to be multiplied by, float32 [kv_heads,
    head width] (see `graph.smoothing`); None if the graph computes them as they are.
    """

    def __init__(
        self,
        session: Session,
        table: TokenEmbeddings,
        capacity: int,
        attention: Attention,
        value_factors: Sequence[Floats] | None,
    ) -> None:
        self.capacity = capacity
        self._session, self._table, self._attention = session, table, attention
        self._factors = value_factors

    def run(
        self,
        sequences: Sequence[Tokens],
        starts: Sequence[int],
        *,
        return_states: bool = False,
        cancel: Flag | None = None,
    ) -> tuple[HiddenStates, list[KeyValues]]:
        """See EmbeddingPass; `cancel` ends a pass."""
        lengths = np.array([len(ids) for ids in sequences], np.int32)
        hidden, layers = self._session.run(
            padded(self._table, sequences),
            lengths,
            self._attention,
            return_states=return_states,
            cancel=cancel,
        )
        rows = [
            hidden[i, start:length]
            for i, (start, length) in enumerate(zip(starts, lengths, strict=True))
        ]
        states = [
            key_values(layers, i, int(length), self._factors)
            for i, length in enumerate(lengths)
            if return_states
        ]
        return np.concatenate(rows), states

    def close(self) -> None:
        """Do nothing: the session belongs to the engine, and a pass keeps no memory."""


def padded(table: TokenEmbeddings, sequences: Sequence[Tokens]) -> Floats:
    """Return the embeddings of sequences, float32 [batch, longest, width], zeros behind each."""
    longest = max(len(ids) for ids in sequences)
    embeddings = np.zeros((len(sequences), longest, table.width), np.float32)
    rows = table.rows(np.concatenate(sequences))
    first = 0
    for i, ids in enumerate(sequences):
        embeddings[i, : len(ids)] = rows[first : first + len(ids)]
        first += len(ids)
    return embeddings


def key_values(
    layers: Sequence[LayerStates], number: int, length: int, factors: Sequence[Floats] | None
) -> KeyValues:
    """Return the keys and values of one sequence of a batch, in float16."""

    def taken(states: States) -> NDArray[np.float16]:
        rows = states[number, :, :length].transpose(1, 0, 2)
        return np.array(rows, order="C") if rows.dtype == np.float16 else to_float16(rows)

    keys = tuple(taken(layer.keys) for layer in layers)
    values = [layer.values for layer in layers]
    if factors is not None:
        values = [v * each[:, None] for v, each in zip(values, factors, strict=True)]
    return KeyValues(keys, tuple(taken(each) for each in values))
