"""The tokens that a decoder holds keys and values of: a state's, and those behind it.

What a new sequence begins with like the old one is not evaluated again.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gritlite.prompt import Attention
from gritlite.runtime.engine import Decoder, KeyValues, Logits
from gritlite.runtime.state import JoinedState, State


@dataclass(frozen=True)
class SavedCache:
    """What a `KVCache` held: the document before the tokens, the tokens, and their numbers."""

    document: State | None
    tokens: tuple[int, ...]
    key_values: KeyValues = field(repr=False)


class KVCache:
    """The sequence of a decoder. Not thread-safe.

    A document's state, where there is one, takes the positions before the tokens.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._document: State | None = None
        self._tokens: list[int] = []

    @property
    def capacity(self) -> int:
        """The number of tokens that it can hold, the document's included."""
        return self._decoder.capacity

    @property
    def size(self) -> int:
        """The number of tokens that it holds, the document's included."""
        return self._start + len(self._tokens)

    def holds(self, document: State | None) -> bool:
        """Whether a document equal to this one stands before the tokens."""
        if document != self._document:
            return False
        self._document = document  # an object equals itself at once: this is asked at every token
        return True

    def reusable(self, document: State | None, tokens: Sequence[int]) -> int:
        """How many of `tokens` behind a document it holds already."""
        return common_prefix(self._tokens, tokens) if self.holds(document) else 0

    @property
    def tokens(self) -> int:
        """The number of tokens behind the document."""
        return len(self._tokens)

    def keep(self, tokens: Sequence[int]) -> int:
        """Drop all behind the document but what is held of `tokens`; return how many are."""
        kept = common_prefix(self._tokens, tokens)
        # even when all are kept: a pass that Ctrl-C broke off may have left tokens unrecorded
        self._decoder.truncate(self._start + kept)
        del self._tokens[kept:]
        return kept

    def add(self, tokens: Sequence[int], outputs: NDArray[np.bool_]) -> None:
        """Evaluate the next tokens; `outputs`, bool [n], marks those whose logits are wanted."""
        self._decoder.evaluate(tokens, self.size, outputs)
        self._tokens += tokens

    def logits(self, count: int) -> Logits:
        """Logits of the last `count` outputs, float32 [count, vocabulary], overwritten by `add`."""
        return self._decoder.logits(count)

    def save(self) -> SavedCache:
        """Copy what it holds."""
        self._decoder.truncate(self.size)
        return SavedCache(self._document, tuple(self._tokens), self._decoder.state())

    def load(self, saved: SavedCache) -> None:
        """Hold what was saved, and nothing else."""
        self._empty()
        self._decoder.restore(saved.key_values)
        self._document, self._tokens = saved.document, list(saved.tokens)

    def restore(self, document: State | None) -> Generator[int, None, None]:
        """Hold a document and no tokens, step by step: it counts as held in the end.

        Yields how many tokens each step has evaluated. Given up half-way, the cache is
        empty. Raises FormatError for a state that the engine refuses.
        """
        self._empty()
        try:
            if document is not None:
                self._decoder.restore(document.parts[0].key_values)
                yield 0
            if isinstance(document, JoinedState):
                yield from self._append(document)
            self._document = document
        except BaseException:
            self._decoder.truncate(0)
            raise

    def _empty(self) -> None:
        self._document = None
        self._tokens.clear()
        self._decoder.truncate(0)

    def _append(self, document: JoinedState) -> Iterator[int]:
        """Put the parts behind the first one at the positions where it ends."""
        end = document.parts[0].tokens
        for part in document.parts[1:]:
            used = part.ids[document.left_out :]
            again = used[: document.recomputed]
            yield from self._evaluate_again(again, end, part.attention)
            if len(again) < len(used):
                first = document.left_out + len(again)
                rest = part.key_values.without_first(first)
                self._decoder.restore(rest, end + len(again), rotated_for=first)
                yield 0
            end += len(used)

    def _evaluate_again(
        self, ids: Sequence[int], start: int, attention: Attention
    ) -> Iterator[int]:
        """Evaluate the beginning of a part where it will stand, in its own attention.

        A bidirectional one of more tokens than a call evaluates sees itself in pieces.
        """
        most = self._decoder.batch_tokens
        for first in range(0, len(ids), most):
            batch = ids[first : first + most]
            nothing = np.zeros(len(batch), np.bool_)
            self._decoder.evaluate(batch, start + first, nothing, attention)
            yield len(batch)

    @property
    def _start(self) -> int:
        """The position of the first token."""
        return 0 if self._document is None else self._document.tokens

    def close(self) -> None:
        """Free the decoder's memory."""
        self._decoder.close()


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:  # much faster than one by one
        return length
    return next((i for i in range(length) if a[i] != b[i]), length)
