"""Splits a long text into chunks of tokens as llama.cpp's tools do.

Source: tools/perplexity/perplexity.cpp and tools/imatrix/imatrix.cpp. The first
token of each chunk is replaced by BOS if the vocabulary adds one. The tokens after the
last whole chunk are left out.
"""

from typing import Protocol


class Tokenizing(Protocol):
    """Tokenizes plain text: a `GritLM` or an equivalent."""

    @property
    def bos(self) -> int | None:
        """The token that begins every input, None if there is none."""

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a plain text, without BOS."""


def whole_chunks(model: Tokenizing, text: str, size: int) -> list[list[int]]:
    """Return the whole chunks of `size` tokens of a text, each beginning with BOS if any."""
    bos = [] if model.bos is None else [model.bos]
    tokens = bos + model.tokenize(text)
    starts = range(0, len(tokens) - size + 1, size)
    return [bos + tokens[start + len(bos) : start + size] for start in starts]
