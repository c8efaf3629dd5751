"""One sequence of a context, and the tokens that its key-value cells hold.

What a new sequence begins with like the old one is not evaluated again.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from gritlite.runtime.document import Document, JoinedState
from gritlite.runtime.llama import Batch, Context
from gritlite.runtime.llama.batch_padding import padded_count
from gritlite.runtime.llama.sequence_state import without_first

SEQUENCES = 2  # that a context for `KVCache` has
_BESIDE = 1  # the sequence in which a part is moved to its place


class KVCache:
    """Sequence 0 of a context, which has `SEQUENCES` where documents come in. Not thread-safe.

    A document state, where there is one, takes the positions before the tokens.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._document: Document | None = None
        self._tokens: list[int] = []

    def holds(self, document: Document | None) -> bool:
        """Whether a document equal to this one is in the cells."""
        if document != self._document:
            return False
        self._document = document  # an object equals itself at once: this is asked at every token
        return True

    def keep(self, tokens: Sequence[int]) -> int:
        """Drop all behind the document but what is held of `tokens`; return how many are."""
        kept = _common_prefix(self._tokens, tokens)
        # even when all are kept: a pass that Ctrl-C broke off may have left cells unrecorded
        self.context.forget(0, self._first + kept)
        del self._tokens[kept:]
        return kept

    def add(self, tokens: Sequence[int], outputs: NDArray[np.bool_]) -> None:
        """Evaluate the next tokens; `outputs` marks those whose logits are wanted, bool [n]."""
        start = self._first + len(self._tokens)
        count = padded_count(len(tokens), start, self.context.weights)
        fills = count - len(tokens) if start + count <= self.context.options.n_ctx else 0
        if fills:
            nothing = np.zeros(fills, np.bool_)
            self._decode([*tokens, *[tokens[-1]] * fills], start, np.append(outputs, nothing))
            self.context.forget(0, start + len(tokens))
        else:
            self._decode(tokens, start, outputs)
        self._tokens += tokens

    def _decode(self, tokens: Sequence[int], start: int, outputs: NDArray[np.bool_]) -> None:
        self.context.decode(
            Batch(
                tokens=np.array(tokens, np.int32),
                positions=np.arange(start, start + len(tokens), dtype=np.int32),
                sequences=np.zeros(len(tokens), np.int32),
                outputs=outputs,
            )
        )

    def restore(self, document: Document | None) -> Generator[int, None, None]:
        """Put a document into the cells, or none, step by step: what they hold counts in the end.

        Yields how many tokens each step has read anew. Given up half-way, the cells are
        empty. Raises FormatError for a state that llama.cpp refuses.
        """
        self._document = None
        self._tokens.clear()
        self.context.clear()
        try:
            if document is not None:
                self.context.restore(0, document.parts[0].data)
                yield 0
            if isinstance(document, JoinedState):
                yield from self._append(document)
            self._document = document
        except BaseException:
            self.context.clear()
            raise

    def _append(self, document: JoinedState) -> Iterator[int]:
        """Put the parts behind the first one at the positions where it ends."""
        end = document.parts[0].tokens
        for part in document.parts[1:]:
            ids = part.ids[document.left_out :]
            anew = ids[: document.recomputed]
            yield from self._read_anew(anew, end, causal=part.attention == "causal")
            if len(anew) < len(ids):
                # cut before it is restored, for the cells may be just as many as are left
                rest = without_first(part.data, document.left_out + len(anew))
                self.context.restore(_BESIDE, rest)
                self.context.shift(_BESIDE, end - document.left_out)
                self.context.join(_BESIDE, 0)
                yield 0
            end += len(ids)

    def _read_anew(self, ids: Sequence[int], start: int, *, causal: bool) -> Iterator[int]:
        """Evaluate the beginning of a part where it will stand, in its own attention.

        A bidirectional one of more tokens than a batch holds is read batch by batch.
        """
        most = self.context.options.n_batch
        for first in range(0, len(ids), most):
            batch = ids[first : first + most]
            with nullcontext() if causal else self.context.bidirectional():
                self._decode(batch, start + first, np.zeros(len(batch), np.bool_))
            yield len(batch)

    @property
    def _first(self) -> int:
        """The position of the first token."""
        return 0 if self._document is None else self._document.tokens


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i in range(length) if a[i] != b[i])
