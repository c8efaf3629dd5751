"""What models are compared on: texts to embed, and chunks of tokens to predict.

Both come from calibration files (`calibration_texts`). Tokens are the
reference's: a candidate must have the same vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gritlite.calibrate.texts import InstructedText, embed_passes, generate_passes, read_texts
from gritlite.runtime.model import GritLM

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """`documents` as texts, `embed_pass` and `chunks` in tokens.

    `embed_pass` is one bidirectional pass over some of the documents, for errors by
    layer. Of each chunk what follows its first half is predicted.
    """

    documents: tuple[InstructedText, ...]
    document_tokens: int
    embed_pass: tuple[Tokens, ...]
    chunks: tuple[Tokens, ...]

    @property
    def tokens(self) -> int:
        """How many tokens the documents and the chunks have."""
        return self.document_tokens + sum(map(len, self.chunks))


def read_sample(model: GritLM, files: Sequence[Path], limit: int | None = None) -> Sample:
    """Read the files and cut them up as `model` does; `limit` takes the first so many chunks.

    Raises what `read_texts` raises, and InputError for less than one chunk of text.
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
