"""The engine protocols: the interface between llama.cpp and everything above it.

    Vocabulary       text to token ids and back
    EmbeddingPass    packed sequences in; hidden states, keys and values out
    Prefill          a prompt's token ids in, part by part; their keys and values out
    Decoder          token ids, or keys and values, in; logits, keys and values out
    Decoders         several decoders, whose next tokens are evaluated together
    Sampler          logits in; a token id out
    EmbeddingEngine  creates embedding passes over one copy of the weights
    PrefillEngine    creates prefills, whose states another engine's decoder goes on from
    Engine           creates embedding passes, decoders and samplers

`gritlite.runtime.llama` implements `Engine`, and `gritlite.runtime.onnx` the other two. The
module does not know files, prompts or any engine's memory layout.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gritlite.prompt import Attention
from gritlite.runtime.options import SamplingOptions
from gritlite.system.watch import Flag

Tokens = NDArray[np.int32]
HiddenStates = NDArray[np.float32]  # [tokens, dimension]
Logits = NDArray[np.float32]  # [tokens, vocabulary], or [vocabulary] for one token


@dataclass(frozen=True, eq=False)
class KeyValues:
    """One sequence's keys after rotation, and its values: one array per layer.

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
        """The total size of the arrays in bytes."""
        return sum(array.nbytes for array in (*self.keys, *self.values))

    def without_first(self, count: int) -> "KeyValues":
        """Return views without the first `count` tokens."""
        return KeyValues(
            tuple(array[count:] for array in self.keys),
            tuple(array[count:] for array in self.values),
        )

    def followed_by(self, other: "KeyValues") -> "KeyValues":
        """Return a copy with another state after this one."""
        return KeyValues(
            tuple(np.concatenate(pair) for pair in zip(self.keys, other.keys, strict=True)),
            tuple(np.concatenate(pair) for pair in zip(self.values, other.values, strict=True)),
        )

    def __eq__(self, other: object) -> bool:
        """Return whether all numbers are equal."""
        if self is other:
            return True
        if not isinstance(other, KeyValues):
            return NotImplemented
        pairs = zip((*self.keys, *self.values), (*other.keys, *other.values), strict=False)
        return len(self.keys) == len(other.keys) and all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment] # the arrays can be written to


class Vocabulary(Protocol):
    """Text to token ids and back. Thread-safe.

    `bos` and `eos` are -1 if there is none. `adds_bos` says whether an input begins with
    BOS, `adds_eos` whether one to embed ends with EOS.
    """

    size: int
    bos: int
    eos: int
    adds_bos: bool
    adds_eos: bool

    @property
    def control(self) -> NDArray[np.bool_]:
        """Which tokens are control tokens, bool [size]."""

    def normalize(self, text: str) -> str:
        """Return the text in the Unicode form that `tokenize` uses."""

    def tokenize(self, text: str, *, parse_control: bool) -> Tokens:
        """Return the token ids of a text, int32 [n], without BOS.

        With `parse_control`, the text of a control token becomes that token.
        """

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes of a token; empty for a control token unless `special`."""

    def token_text(self, token: int) -> str:
        """Return the text of a token, control tokens included; empty for -1."""

    def is_end(self, token: int) -> bool:
        """Return whether a token ends an answer."""


class EmbeddingPass(Protocol):
    """Evaluates packed sequences in one pass. Not thread-safe.

    `capacity` is the maximum number of tokens in a pass.
    """

    capacity: int

    def run(
        self,
        sequences: Sequence[Tokens],
        starts: Sequence[int],
        *,
        return_states: bool = False,
        cancel: Flag | None = None,
    ) -> tuple[HiddenStates, list[KeyValues]]:
        """Evaluate sequences that do not attend to each other.

        Returns the final hidden states of each sequence's tokens from its start on,
        float32 [n, dimension], and with `return_states` each sequence's keys and values.
        Raises CancelledError soon after `cancel` is set.
        """

    def close(self) -> None:
        """Free the memory. The weights stay."""


class Prefill(Protocol):
    """Evaluates one sequence causally, part by part. Not thread-safe.

    `part_tokens` is the number of tokens in one call that is fastest, and the maximum.
    """

    part_tokens: int

    def evaluate(self, tokens: Sequence[int], cancel: Flag | None = None) -> KeyValues:
        """Evaluate the sequence's next tokens and return their keys and values.

        Raises OutOfMemoryError, and CancelledError soon after `cancel` is set.
        """

    def close(self) -> None:
        """Free the memory. The weights stay."""


class PrefillEngine(Protocol):
    """Evaluates prompts for a decoder of the same model. Thread-safe; a Prefill is not."""

    @property
    def prefill_limit(self) -> int:
        """The maximum number of tokens in a sequence."""

    def open_prefill(self, before: KeyValues | None, tokens: int) -> Prefill:
        """Allocate a sequence of up to `tokens` tokens, which begins with the state `before`.

        Raises OutOfMemoryError.
        """


class Decoder(Protocol):
    """Evaluates one sequence and holds its keys and values. Not thread-safe.

    `capacity` is the maximum number of tokens in the sequence, `batch_tokens` the maximum
    in one call.
    """

    capacity: int
    batch_tokens: int

    def evaluate(
        self,
        tokens: Sequence[int],
        start: int,
        outputs: NDArray[np.bool_],
        attention: Attention = "causal",
        cancel: Flag | None = None,
    ) -> None:
        """Evaluate tokens at the positions from `start` on.

        They attend to all tokens before them and, with bidirectional attention, to each
        other. `outputs`, bool [n], marks the tokens whose logits are computed. Raises
        CancelledError soon after `cancel` is set; any part of the tokens may then be in the
        sequence until it is truncated.
        """

    def truncate(self, length: int) -> None:
        """Remove the tokens at positions from `length` on."""

    def state(self) -> KeyValues:
        """Return a copy of the keys and values of the whole sequence."""

    def restore(self, state: KeyValues, start: int = 0, *, rotated_for: int = 0) -> None:
        """Append a state at the positions from `start` on.

        `rotated_for` is the position that its first key was rotated for. Raises
        FormatError for a state of another shape.
        """

    def logits(self, count: int) -> Logits:
        """Return the logits of the last call's `count` outputs, float32 [count, vocabulary].

        The next call of `evaluate` may overwrite them.
        """

    def close(self) -> None:
        """Free the memory. The weights stay."""


@dataclass(frozen=True)
class Step:
    """The next token of one of several decoders: the decoder's index, the id, the position."""

    member: int
    token: int
    position: int


class Decoders(Protocol):
    """Decoders in one context. Not thread-safe, nor are the members beside each other."""

    @property
    def members(self) -> Sequence[Decoder]:
        """The decoders."""

    def evaluate_together(self, steps: Sequence[Step]) -> Logits:
        """Evaluate a token of each of some members; return their logits [steps, vocabulary].

        A member's logits, bit by bit, do not depend on the others. The next call of this or of
        a member may overwrite them.
        """

    def close(self) -> None:
        """Free the memory of all members. The weights stay."""


class Sampler(Protocol):
    """Chooses tokens and remembers its choices."""

    def choose(self, logits: Logits) -> int:
        """Return a token chosen by logits, float32 [vocabulary].

        Raises UsageError if a grammar allows no token.
        """

    def close(self) -> None:
        """Free the memory."""


class EmbeddingEngine(Protocol):
    """Creates embedding passes over one copy of a model's weights. Thread-safe."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The file's vocabulary."""

    @property
    def dimension(self) -> int:
        """The length of a hidden state."""

    @property
    def trained_context(self) -> int:
        """The context length that the model was trained with."""

    @property
    def max_sequences(self) -> int:
        """The maximum number of sequences in an embedding pass."""

    @property
    def on_device(self) -> bool:
        """Whether keys, values and buffers are in device memory rather than main memory."""

    @property
    def pads(self) -> bool:
        """Whether a pass computes as many tokens for each sequence as the longest has.

        Such a pass takes its memory when it runs, not when it is opened.
        """

    def open_pass(self, tokens: int, attention: Attention) -> EmbeddingPass:
        """Allocate embedding passes of up to `tokens` tokens. Raises OutOfMemoryError."""

    def close(self) -> None:
        """Free the weights. Close all passes, decoders and samplers first."""


class Engine(EmbeddingEngine, Protocol):
    """Creates passes, decoders and samplers over one copy of a model's weights. Thread-safe."""

    def open_decoder(
        self, capacity: int, batch_tokens: int, *, all_logits: bool = False
    ) -> Decoder:
        """Allocate a sequence of up to `capacity` tokens. Raises OutOfMemoryError.

        With `all_logits` every token of a call can be an output, otherwise only one.
        """

    def open_decoders(self, count: int, capacity: int, batch_tokens: int) -> Decoders:
        """Allocate `count` sequences of up to `capacity` tokens each.

        Raises OutOfMemoryError, and UsageError for a count that the engine does not offer.
        """

    def sampler(self, options: SamplingOptions, seen: Iterable[int]) -> Sampler:
        """Return a sampler that has already seen `seen`. Raises UsageError for a bad grammar."""
