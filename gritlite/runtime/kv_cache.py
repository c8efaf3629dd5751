"""The key-value cache of one decoder: a document's state and the tokens after it.

The common prefix of an old and a new sequence is not evaluated again.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gritlite.prompt import Attention
from gritlite.runtime.engine import Decoder, KeyValues, Logits
from gritlite.runtime.state import JoinedState, State
from gritlite.system.watch import Flag


@dataclass(frozen=True)
class SavedCache:
    """A copy of a `KVCache`: its document, the tokens after it, and all keys and values."""

    document: State | None
    tokens: tuple[int, ...]
    key_values: KeyValues = field(repr=False)


class KVCache:
    """Tracks the sequence of a decoder. Not thread-safe.

    The state of a document, if there is one, takes the positions before the tokens.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._document: State | None = None
        self._tokens: list[int] = []

    @property
    def capacity(self) -> int:
        """The maximum number of tokens, the document's included."""
        return self._decoder.capacity

    @property
    def document(self) -> State | None:
        """The document before the tokens."""
        return self._document

    @property
    def size(self) -> int:
        """The current number of tokens, the document's included."""
        return self._start + len(self._tokens)

    def holds(self, document: State | None) -> bool:
        """Return whether the cached document equals this one."""
        if document != self._document:
            return False
        self._document = document  # the next comparison is then instant
        return True

    def reusable(self, document: State | None, tokens: Sequence[int]) -> int:
        """Return the number of leading `tokens` after a document that are cached."""
        return common_prefix(self._tokens, tokens) if self.holds(document) else 0

    @property
    def tokens(self) -> int:
        """The number of tokens after the document."""
        return len(self._tokens)

    def retain_prefix(self, tokens: Sequence[int]) -> int:
        """Truncate the tokens to their common prefix with `tokens`, and return its length."""
        length = common_prefix(self._tokens, tokens)
        # even if nothing changes: a pass interrupted by Ctrl-C may have left untracked tokens
        self._decoder.truncate(self._start + length)
        del self._tokens[length:]
        return length

    def add(
        self, tokens: Sequence[int], outputs: NDArray[np.bool_], cancel: Flag | None = None
    ) -> None:
        """Evaluate the next tokens; `outputs`, bool [n], marks those whose logits are computed.

        Raises CancelledError soon after `cancel` is set.
        """
        self._decoder.evaluate(tokens, self.size, outputs, cancel=cancel)
        self._tokens += tokens

    def track(self, token: int) -> None:
        """Note that the next token was evaluated, together with those of other caches."""
        self._tokens.append(token)

    def append(self, tokens: Sequence[int], state: KeyValues) -> None:
        """Append tokens whose keys and values, at their positions here, are known."""
        self._decoder.restore(state, self.size, rotated_for=self.size)
        self._tokens += tokens

    def logits(self, count: int) -> Logits:
        """Return the last `count` outputs' logits [count, vocabulary]; `add` overwrites them."""
        return self._decoder.logits(count)

    def save(self) -> SavedCache:
        """Return a copy of the contents."""
        self._decoder.truncate(self.size)
        return SavedCache(self._document, tuple(self._tokens), self._decoder.state())

    def load(self, saved: SavedCache) -> None:
        """Replace the contents by a saved copy."""
        self._empty()
        self._decoder.restore(saved.key_values)
        self._document, self._tokens = saved.document, list(saved.tokens)

    def restore(
        self, document: State | None, cancel: Flag | None = None
    ) -> Generator[int, None, None]:
        """Replace the contents by a document, step by step.

        Yields the number of tokens that each step evaluated. If closed before the end, the
        cache is left empty. Raises FormatError for a state that the engine rejects, and
        CancelledError soon after `cancel` is set.
        """
        self._empty()
        try:
            if document is not None:
                self._decoder.restore(document.parts[0].key_values)
                yield 0
            if isinstance(document, JoinedState):
                yield from self._append(document, cancel)
            self._document = document
        except BaseException:
            self._decoder.truncate(0)
            raise

    def _empty(self) -> None:
        self._document = None
        self._tokens.clear()
        self._decoder.truncate(0)

    def _append(self, document: JoinedState, cancel: Flag | None) -> Iterator[int]:
        """Append the parts after the first one."""
        end = document.parts[0].tokens
        for part in document.parts[1:]:
            used = part.ids[document.left_out :]
            recomputed = used[: document.recomputed]
            yield from self._recompute(recomputed, end, part.attention, cancel)
            if len(recomputed) < len(used):
                first = document.left_out + len(recomputed)
                rest = part.key_values.without_first(first)
                self._decoder.restore(rest, end + len(recomputed), rotated_for=first)
                yield 0
            end += len(used)

    def _recompute(
        self, ids: Sequence[int], start: int, attention: Attention, cancel: Flag | None
    ) -> Iterator[int]:
        """Evaluate the first tokens of a part at their new positions, in its own attention.

        With bidirectional attention, tokens attend only to tokens of the same or an earlier
        batch.
        """
        limit = self._decoder.batch_tokens
        for first in range(0, len(ids), limit):
            batch = ids[first : first + limit]
            no_outputs = np.zeros(len(batch), np.bool_)
            self._decoder.evaluate(batch, start + first, no_outputs, attention, cancel)
            yield len(batch)

    @property
    def _start(self) -> int:
        """The position of the first token."""
        return 0 if self._document is None else self._document.tokens

    def close(self) -> None:
        """Free the decoder's memory."""
        self._decoder.close()


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the common prefix of two sequences."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:  # much faster than comparing one by one
        return length
    return next((i for i in range(length) if a[i] != b[i]), length)
