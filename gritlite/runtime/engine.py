"""What an engine is: the protocols that everything above llama.cpp is written against.

    Vocabulary     text to token ids and back
    EmbeddingPass  packed sequences in, hidden states out, with each one's keys and values
    Prefill        token ids in, their keys and values out
    Decoder        a prefill that also takes keys and values in, and gives logits
    Sampler        logits in, a token id out
    Engine         makes them, over one copy of the weights

`gritlite.runtime.llama` implements all of them; another engine may implement some. The
module knows no file, no prompt and no layout of any engine's memory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gritlite.prompt import Attention
from gritlite.runtime.options import SamplingOptions

Tokens = NDArray[np.int32]
HiddenStates = NDArray[np.float32]  # [tokens, dimension]
Logits = NDArray[np.float32]  # [tokens, vocabulary], or [vocabulary] of one token


@dataclass(frozen=True, eq=False)
class KeyValues:
    """One sequence's keys, after rotation, and its values: an array for each layer.

    Each array is float16 [tokens, kv_heads, head_dim].
    """

    keys: tuple[NDArray[np.float16], ...] = field(repr=False)
    values: tuple[NDArray[np.float16], ...] = field(repr=False)

    @property
    def tokens(self) -> int:
        """The number of tokens."""
        return len(self.keys[0])

    @property
    def nbytes(self) -> int:
        """The size of all arrays together."""
        return sum(array.nbytes for array in (*self.keys, *self.values))

    def without_first(self, count: int) -> "KeyValues":
        """Views of all but the first `count` tokens."""
        return KeyValues(
            tuple(array[count:] for array in self.keys),
            tuple(array[count:] for array in self.values),
        )

    def __eq__(self, other: object) -> bool:
        """Whether every number is the same."""
        if self is other:
            return True
        if not isinstance(other, KeyValues):
            return NotImplemented
        pairs = zip((*self.keys, *self.values), (*other.keys, *other.values), strict=False)
        return len(self.keys) == len(other.keys) and all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment] # the arrays can be written to


class Vocabulary(Protocol):
    """Text to token ids and back. Thread-safe.

    `bos` and `eos` are -1 where there is none; `adds_bos` says whether an input begins
    with BOS.
    """

    size: int
    bos: int
    eos: int
    adds_bos: bool

    @property
    def control(self) -> NDArray[np.bool_]:
        """Which tokens are control tokens, bool [size]."""

    def normalize(self, text: str) -> str:
        """The text in the Unicode form that `tokenize` gives it."""

    def tokenize(self, text: str, *, parse_control: bool) -> Tokens:
        """Token ids of a text, int32 [n], without BOS.

        `parse_control` lets spellings of control tokens become control tokens.
        """

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of a token; none for a control token unless `special`."""

    def token_text(self, token: int) -> str:
        """The text of a token, control tokens included; empty for -1."""

    def is_end(self, token: int) -> bool:
        """Whether a token ends an answer."""


class EmbeddingPass(Protocol):
    """Evaluates sequences side by side in one pass. Not thread-safe.

    `capacity` is the number of tokens that a pass can hold.
    """

    capacity: int

    def run(
        self, sequences: Sequence[Tokens], starts: Sequence[int], *, keep: bool = False
    ) -> tuple[HiddenStates, list[KeyValues]]:
        """Evaluate sequences that do not see each other.

        Returns the final hidden states of each sequence's tokens from its start on,
        float32 [n, dimension], and with `keep` each sequence's keys and values.
        """

    def close(self) -> None:
        """Free the memory. The weights stay."""


class Prefill(Protocol):
    """One sequence of tokens and what evaluating them leaves. Not thread-safe.

    `capacity` is the number of tokens that it can hold, `batch_tokens` the most that one
    call evaluates.
    """

    capacity: int
    batch_tokens: int

    def evaluate(
        self,
        tokens: Sequence[int],
        start: int,
        outputs: NDArray[np.bool_],
        attention: Attention = "causal",
    ) -> None:
        """Evaluate tokens at the positions from `start` on.

        They see what stands before them and, unless the attention is causal, each other.
        `outputs`, bool [n], marks the tokens whose logits are wanted.
        """

    def truncate(self, length: int) -> None:
        """Forget the tokens at positions from `length` on."""

    def state(self) -> KeyValues:
        """Copy the keys and values of the whole sequence."""

    def close(self) -> None:
        """Free the memory. The weights stay."""


class Decoder(Prefill, Protocol):
    """A prefill that can go on from stored keys and values, and gives logits."""

    def restore(self, state: KeyValues, start: int = 0, *, rotated_for: int = 0) -> None:
        """Put a state at the positions from `start` on, behind what stands before.

        `rotated_for` is the position that its first key was rotated for. Raises
        FormatError for a state of another shape.
        """

    def logits(self, count: int) -> Logits:
        """Logits of the last call's `count` outputs, float32 [count, vocabulary].

        The next call of `evaluate` overwrites them.
        """


class Sampler(Protocol):
    """Chooses tokens, and remembers those it chose."""

    def choose(self, logits: Logits) -> int:
        """Choose a token by its logits, float32 [vocabulary].

        Raises UsageError where a grammar allows no token.
        """

    def close(self) -> None:
        """Free the memory."""


class Engine(Protocol):
    """One copy of a model's weights, and what evaluates tokens with them. Thread-safe."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The file's vocabulary."""

    @property
    def dimension(self) -> int:
        """The length of a hidden state."""

    @property
    def trained_context(self) -> int:
        """The number of tokens that the model was trained for."""

    @property
    def max_sequences(self) -> int:
        """The most sequences in one embedding pass."""

    @property
    def on_device(self) -> bool:
        """Whether keys, values and buffers are in a device's own memory."""

    def open_pass(self, tokens: int, attention: Attention) -> EmbeddingPass:
        """Memory for embedding passes of up to `tokens` tokens. Raises OutOfMemoryError."""

    def open_decoder(
        self, capacity: int, batch_tokens: int, *, all_logits: bool = False
    ) -> Decoder:
        """Memory for one sequence of up to `capacity` tokens. Raises OutOfMemoryError.

        With `all_logits` every token of a call can be an output, else only one.
        """

    def sampler(self, options: SamplingOptions, seen: Iterable[int]) -> Sampler:
        """A sampler that has seen some tokens. Raises UsageError for a bad grammar."""

    def close(self) -> None:
        """Free the weights. Everything opened must be closed before."""
