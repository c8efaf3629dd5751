"""A long text as chunks of tokens, cut as llama.cpp's own tools cut it.

Source: tools/perplexity/perplexity.cpp and tools/imatrix/imatrix.cpp. The first
token of each chunk is replaced by BOS where the vocabulary adds one; what is left
behind the last whole chunk is left out.
"""

from typing import Protocol


class Tokenizing(Protocol):
    """A `GritLM`, or what tokenizes as one does."""

    @property
    def bos(self) -> int | None:
        """The token that begins every input, None where there is none."""

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a plain text, without BOS."""


def whole_chunks(model: Tokenizing, text: str, size: int) -> list[list[int]]:
    """Every whole chunk of `size` tokens of a text that begins with BOS; none if it is shorter."""
    bos = [] if model.bos is None else [model.bos]
    tokens = bos + model.tokenize(text)
    starts = range(0, len(tokens) - size + 1, size)
    return [bos + tokens[start + len(bos) : start + size] for start in starts]
