"""What streamed answers have in common: they are read piece by piece, by one thread at a time.

The module does not know where pieces come from.
"""

import threading
from abc import abstractmethod
from collections.abc import Iterator
from typing import Literal, Self

from gritlite.runtime.state import State

FinishReason = Literal["stop", "length", "context", "cancelled", "loop"]


class Pieces(Iterator[str]):
    """An answer's pieces of text. `close` is called at the end of a `with` block.

    `text` is the answer so far, `generated` the ids of its tokens, `document` the state that its
    prompt follows, and `finish_reason` why it ended, None until it has.
    """

    def __init__(self, document: State | None) -> None:
        self.text = ""
        self.document = document
        self.generated: list[int] = []
        self.finish_reason: FinishReason | None = None
        self._lock = threading.RLock()  # held while a piece is waited for

    @property
    @abstractmethod
    def tokens(self) -> list[int]:
        """The ids of the prompt and the answer."""

    @property
    def context_tokens(self) -> int:
        """How many tokens of the context are taken: by the document, the prompt and the answer."""
        return len(self.tokens) + (0 if self.document is None else self.document.tokens)

    def __next__(self) -> str:
        with self._lock:
            while self.finish_reason is None:
                piece = self._advance()
                if piece:
                    return piece
        raise StopIteration

    @abstractmethod
    def _advance(self) -> str:
        """Add what comes next to `text`, and return it; it may be empty."""

    @abstractmethod
    def close(self) -> None:
        """Stop an answer before its end, from any thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
