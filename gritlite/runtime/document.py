"""The key-value state of a document: what an answer can go on from without reading it again."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DocumentState:
    """One document's key-value cells, as its embedding pass left them.

    `tokens` counts the cells (BOS, document prompt and text), `attention` says
    how the document's tokens saw each other, "bidirectional" or "causal", and
    `model` is the fingerprint of the file that made it, the only one that can go
    on from it. `data` is llama.cpp's own form of one sequence's state, with keys
    and values in f16 (llama_state_seq_get_data of llama.h).
    """

    tokens: int
    attention: str
    model: str
    data: bytes = field(repr=False)
