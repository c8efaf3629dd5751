"""One sequence of a context, and the tokens that its key-value cells hold.

What a new sequence begins with like the old one is not evaluated again.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gritlite.runtime.document import Document, JoinedState
from gritlite.runtime.llama import Batch, Context

SEQUENCES = 2  # that a context for `Cells` has
_BESIDE = 1  # the sequence in which a part is moved to its place


class Cells:
    """Sequence 0 of a context, which has `SEQUENCES` where documents come in. Not thread-safe.

    A document state, where there is one, takes the positions before the tokens.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._document: Document | None = None
        self._tokens: list[int] = []

    def keep(self, tokens: Sequence[int], document: Document | None = None) -> int:
        """Bring the cells to the document and what is held of `tokens`; return how many are held.

        Raises FormatError for a state that llama.cpp refuses.
        """
        if document != self._document:
            self._restore(document)
        kept = _common_prefix(self._tokens, tokens)
        # even when all are kept: a pass that Ctrl-C broke off may have left cells unrecorded
        self.context.forget(0, self._first + kept)
        del self._tokens[kept:]
        return kept

    def add(self, tokens: Sequence[int], outputs: NDArray[np.bool_]) -> None:
        """Evaluate the next tokens; `outputs` marks those whose logits are wanted, bool [n]."""
        start = self._first + len(self._tokens)
        self.context.decode(
            Batch(
                tokens=np.array(tokens, np.int32),
                positions=np.arange(start, start + len(tokens), dtype=np.int32),
                sequences=np.zeros(len(tokens), np.int32),
                outputs=outputs,
            )
        )
        self._tokens += tokens

    def _restore(self, document: Document | None) -> None:
        self._document = None
        self._tokens.clear()
        self.context.clear()
        if document is not None:
            self.context.restore(0, document.parts[0].data)
            if isinstance(document, JoinedState):
                self._append(document)
            self._document = document

    def _append(self, document: JoinedState) -> None:
        """Put the parts behind the first one at the positions where it ends."""
        end = document.parts[0].tokens
        for part in document.parts[1:]:
            self.context.restore(_BESIDE, part.data)
            self.context.forget(_BESIDE, 0, document.left_out)
            self.context.shift(_BESIDE, end - document.left_out)
            self.context.join(_BESIDE, 0)
            end += part.tokens - document.left_out

    @property
    def _first(self) -> int:
        """The position of the first token."""
        return 0 if self._document is None else self._document.tokens


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i in range(length) if a[i] != b[i])
