"""Perplexity of a text, computed as in llama.cpp's `llama-perplexity`.

Source: tools/perplexity/perplexity.cpp with its default context of 512. The text is
split into chunks of 512 tokens, the first token of each is replaced by BOS if the
vocabulary adds one, and only the second half of a chunk is scored, so that every
token has at least 256 tokens of context. Perplexities of models with different
vocabularies are not comparable.
"""

import math
from pathlib import Path

import numpy as np

from gritlite.errors import FormatError, InputError
from gritlite.eval.task import Score
from gritlite.runtime.chunks import whole_chunks
from gritlite.runtime.model import GritLM
from gritlite.runtime.scorer import Scorer
from gritlite.system.progress import ProgressCallback
from gritlite.system.textfiles import read_text

CHUNK = 512  # tokens
FIRST_SCORED = CHUNK // 2 + 1


class Perplexity:
    """The exponential of the mean negative log-likelihood of a text's tokens.

    `limit` takes the first so many chunks, as `llama-perplexity --chunks` does.
    Raises FileError, and FormatError for a file without text.
    """

    def __init__(self, path: Path, *, limit: int | None = None) -> None:
        self.name = f"perplexity {path.name}"
        self._path = path
        self._limit = limit
        self._text = read_text(path)
        if not self._text.strip():
            raise FormatError(f"{path}: holds no text")

    def run(self, model: GritLM, progress: ProgressCallback) -> list[Score]:
        """Measure the model. Raises InputError for a text of less than one chunk."""
        chunks = whole_chunks(model, self._text, CHUNK)
        if not chunks:
            tokens = len(model.tokenize(self._text))
            raise InputError(f"{self._path}: {tokens} tokens, but a chunk has {CHUNK}")
        count = min(len(chunks), self._limit or len(chunks))
        scores = []
        with Scorer(model) as scorer:
            for number, chunk in enumerate(chunks[:count]):
                progress(number, count)
                scores.append(scorer.score(chunk, FIRST_SCORED))
        progress(count, count)
        losses = -np.concatenate(scores).astype(np.float64)
        value = math.exp(losses.mean())
        # of the mean, carried through the exponential, as llama-perplexity does
        error = value * losses.std() / math.sqrt(len(losses) - 1)
        of_all = f"the first {count} of {len(chunks)} chunks of {CHUNK} tokens"
        note = f"standard error {error:.3g}; {of_all}"
        return [Score(self.name, "perplexity", value, len(losses), note)]
