"""Samples that models are compared on: texts to embed, and chunks of tokens to score.

Both come from calibration files (`texts`). The reference model tokenizes them, so a
candidate must have the same vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.calibrate.texts import InstructedText, embed_passes, generate_passes, read_texts
from gritlite.runtime.model import GritLM

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """Documents as texts; `embed_pass` and `chunks` as token ids.

    `embed_pass` is one bidirectional pass over some of the documents, for errors per
    layer. The second half of each chunk is scored.
    """

    documents: tuple[InstructedText, ...]
    document_tokens: int
    embed_pass: tuple[Tokens, ...]
    chunks: tuple[Tokens, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens in the documents and the chunks."""
        return self.document_tokens + sum(map(len, self.chunks))


def read_sample(model: GritLM, files: Sequence[Path], limit: int | None = None) -> Sample:
    """Return a sample of the files, tokenized by `model`, with at most `limit` chunks.

    Raises InputError for less than one chunk of text, and the errors of `read_texts`.
    """
    texts = read_texts(files)
    chunks = [
        sequence
        for each in generate_passes(model, texts)
        for sequence in each.sequences
        if len(sequence) > 1
    ]
    chunks = chunks[:limit]
    passes = embed_passes(model, texts)
    return Sample(
        documents=texts.documents,
        document_tokens=sum(each.tokens for each in passes),
        embed_pass=passes[0].sequences,
        chunks=tuple(chunks),
    )
