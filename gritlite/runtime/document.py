"""The key-value state of a document: what an answer can go on from without reading it again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gritlite.errors import UsageError


@dataclass(frozen=True)
class DocumentState:
    """One document's key-value cells, as its embedding pass left them.

    `tokens` counts the cells (BOS, document prompt and text), `attention` says
    how the document's tokens saw each other, "bidirectional" or "causal", and
    `model` is the fingerprint of the file that made it, the only one that can go
    on from it. `data` is llama.cpp's own form of one sequence's state, with keys
    and values in f16 (llama_state_seq_get_data of llama.h).
    """

    tokens: int
    attention: str
    model: str
    data: bytes = field(repr=False)

    @property
    def parts(self) -> "tuple[DocumentState, ...]":
        """Itself, as the only part."""
        return (self,)


@dataclass(frozen=True)
class JoinedState:
    """Several documents' states, one behind the other.

    No token of a document saw another document. Of all but the first the first
    `left_out` cells, those of a BOS token, are not used.
    """

    parts: tuple[DocumentState, ...]
    left_out: int

    @property
    def tokens(self) -> int:
        """The cells that they take together."""
        unused = self.left_out * (len(self.parts) - 1)
        return sum(part.tokens for part in self.parts) - unused

    @property
    def model(self) -> str:
        """The fingerprint of the file that made them all."""
        return self.parts[0].model


Document = DocumentState | JoinedState


def joined(states: Sequence[DocumentState], left_out: int) -> Document:
    """States as one document, in this order.

    Raises UsageError for none, and for states of different models.
    """
    if not states:
        raise UsageError("there is no document state to join")
    if len({state.model for state in states}) > 1:
        raise UsageError("the document states are of different models: make them with one")
    return states[0] if len(states) == 1 else JoinedState(tuple(states), left_out)
