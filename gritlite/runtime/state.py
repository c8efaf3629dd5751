"""Key-value states of documents, which answers continue without evaluating the text again.

A state consists of arrays in a form that is the same for every engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gritlite.errors import UsageError
from gritlite.prompt import Attention
from gritlite.runtime.engine import KeyValues
from gritlite.system.wording import counted


@dataclass(frozen=True)
class DocumentState:
    """One document's keys and values after a pass.

    `ids` are its tokens, and `head` counts those before the text (BOS and prompt).
    `attention` is the attention among its tokens. `model` is the fingerprint of the file
    that made it; only that file can continue it. A state that `opens_message` is the
    beginning of a chat whose user message begins with the text; other states come from the
    pass that embeds the text.
    """

    ids: tuple[int, ...] = field(repr=False)
    head: int
    attention: Attention
    model: str
    opens_message: bool
    key_values: KeyValues = field(repr=False, hash=False)

    def __repr__(self) -> str:
        """Say how much of what it is."""
        kind = "the beginning of a message" if self.opens_message else "an embedding pass"
        return (
            f"<DocumentState: {counted(self.tokens, 'token')} of {kind}, {self.attention}, "
            f"{self.key_values.nbytes:,} bytes>"
        )

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
    """Several documents' states, concatenated.

    The first `left_out` tokens (BOS, or the beginning of the chat) of every state but the
    first are dropped. The next `recomputed` tokens are evaluated again and attend to all
    tokens before them. The remaining tokens attended to their own document only.
    """

    parts: tuple[DocumentState, ...]
    left_out: int
    recomputed: int = 0

    def __repr__(self) -> str:
        """Say how much it joins."""
        again = f", {self.recomputed} of each evaluated again" if self.recomputed else ""
        return f"<JoinedState: {counted(self.tokens, 'token')} of {len(self.parts)} states{again}>"

    @property
    def tokens(self) -> int:
        """The total number of tokens."""
        unused = self.left_out * (len(self.parts) - 1)
        return sum(part.tokens for part in self.parts) - unused

    @property
    def model(self) -> str:
        """The fingerprint of the file that made the parts."""
        return self.parts[0].model

    @property
    def opens_message(self) -> bool:
        """Whether the parts begin a user's message."""
        return self.parts[0].opens_message


State = DocumentState | JoinedState


def joined(states: Sequence[DocumentState], bos: int, recompute: int) -> State:
    """Return states concatenated in this order; `bos` is the number of BOS tokens in each.

    The first `recompute` tokens of each but the first will be evaluated again. Raises
    UsageError for no states, and for states of different models or kinds.
    """
    if recompute < 0:
        raise UsageError(f"recompute is {recompute}: expected 0 tokens or more")
    if not states:
        raise UsageError("there are no document states to join")
    first = states[0]
    if any(state.model != first.model for state in states):
        raise UsageError("the document states were made by different models: make them with one")
    if any(state.opens_message != first.opens_message for state in states):
        raise UsageError("the document states are of different kinds: make them the same way")
    if len(states) == 1:
        return first
    return JoinedState(tuple(states), first.head if first.opens_message else bos, recompute)
