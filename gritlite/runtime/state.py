"""Key-value states of documents: what an answer can go on from without reading them again.

A state is arrays with names, whichever engine made it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gritlite.errors import UsageError
from gritlite.prompt import Attention
from gritlite.runtime.engine import KeyValues


@dataclass(frozen=True)
class DocumentState:
    """One document's keys and values, as a pass left them.

    `ids` are its tokens, and `head` counts those before the text (BOS and prompt).
    `attention` says how the tokens saw each other. `model` is the fingerprint of the
    file that made it, the only one that can go on from it. A state that `opens_message`
    is the beginning of a chat up to the text, which begins the user's message; others are
    of the pass that embeds the text.
    """

    ids: tuple[int, ...] = field(repr=False)
    head: int
    attention: Attention
    model: str
    opens_message: bool
    key_values: KeyValues = field(repr=False)

    @property
    def tokens(self) -> int:
        """The number of tokens."""
        return len(self.ids)

    @property
    def parts(self) -> "tuple[DocumentState, ...]":
        """Itself, as the only part."""
        return (self,)


@dataclass(frozen=True)
class JoinedState:
    """Several documents' states, one behind the other.

    The first `left_out` tokens of each but the first state are not used: those of the first
    stand for them. The next `recomputed` tokens are evaluated again, and see all that stands
    before them but nothing of their own document behind them; the others saw their own
    document alone.
    """

    parts: tuple[DocumentState, ...]
    left_out: int
    recomputed: int = 0

    @property
    def tokens(self) -> int:
        """The number of tokens that they take together."""
        unused = self.left_out * (len(self.parts) - 1)
        return sum(part.tokens for part in self.parts) - unused

    @property
    def model(self) -> str:
        """The fingerprint of the file that made them all."""
        return self.parts[0].model

    @property
    def opens_message(self) -> bool:
        """Whether they begin a user's message."""
        return self.parts[0].opens_message


State = DocumentState | JoinedState


def joined(states: Sequence[DocumentState], bos: int, recompute: int) -> State:
    """States one behind the other, in this order; `bos` counts the BOS tokens of each.

    The first `recompute` tokens of each but the first will be evaluated again. Raises
    UsageError for none, and for states of different models or kinds.
    """
    if recompute < 0:
        raise UsageError(f"recompute is {recompute}: expected 0 tokens or more")
    if not states:
        raise UsageError("there is no document state to join")
    first = states[0]
    if any(state.model != first.model for state in states):
        raise UsageError("the document states are of different models: make them with one")
    if any(state.opens_message != first.opens_message for state in states):
        raise UsageError("the document states are of different kinds: make them in one way")
    if len(states) == 1:
        return first
    return JoinedState(tuple(states), first.head if first.opens_message else bos, recompute)
