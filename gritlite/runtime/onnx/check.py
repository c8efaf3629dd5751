"""Compares a graph with llama.cpp on sample texts: do the vectors agree, and which is faster?

Both engines embed through `Embedder`, as a user's texts are. How many of the sample's texts
are embedded depends on how fast llama.cpp is, so that a large model is checked in a bounded
time. The module does not know how graphs are made, or what cosine is good enough.
"""

import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.memory import PASS_TOKENS, embed_memory
from gritlite.prompt import EmbedFormat
from gritlite.runtime.embed import Embedder, EmbedOptions, Vectors
from gritlite.runtime.engine import EmbeddingEngine
from gritlite.runtime.sample_texts import COMPARISON_TEXTS, paragraphs
from gritlite.runtime.scheduler import Scheduler
from gritlite.runtime.tokens import Tokenizer

CHECK_VERSION = 2  # raise it whenever the texts, the measures or their bounds change
_TEXTS = Path(__file__).parents[1] / "data" / "check.txt"
_BETWEEN = "\n---\n"
_JOINED = 4  # short paragraphs to one text
_GROUPS = 5  # each has texts of all kinds, and the first the shortest
_CHECK_SECONDS = 5.0  # of llama.cpp, for the texts whose vectors are compared
_ROUND_SECONDS = 0.5  # of llama.cpp, for the texts that both engines embed in turn
_ROUNDS = 3
_QUERY_ROUNDS = 7
_LEAST_ROUNDS = 2
_AGREEING = 1.1  # the largest ratio of rounds to the least, if no more are needed
_LEAST_TEXTS = 4
_SHORTEST = 1e-9  # seconds, so that a coarse clock divides nothing by zero
_TINY = np.finfo(np.float64).tiny
_LONGEST = 2048  # tokens of a text: the sample has none that is longer with a usual vocabulary

Clock = Callable[[], float]


@dataclass(frozen=True)
class Measures:
    """How a graph's vectors and times compare with llama.cpp's.

    Cosines are over the `texts` of the sample that were embedded. `speed` is tokens a second
    over many texts, and `query_speed` over a short text alone, both to llama.cpp's.
    """

    texts: int
    mean_cosine: float
    least_cosine: float
    speed: float
    query_speed: float


class SampleEmbedder:
    """Embeds sample texts with an engine over a file, as `EmbeddingModel` does."""

    def __init__(
        self, engine: EmbeddingEngine, file: GGUFFile, *, cancel: threading.Event | None = None
    ) -> None:
        self._engine, self._cancel = engine, cancel
        self._embedder = Embedder(
            engine,
            Tokenizer(engine.vocabulary),
            EmbedFormat.from_metadata(file.metadata),
            Scheduler(),
            pass_tokens=PASS_TOKENS,
            max_tokens=min(engine.trained_context, _LONGEST),
            memory_need=lambda tokens: embed_memory(file, tokens).without_weights,
        )
        self._options = EmbedOptions(too_long="truncate")

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts, float32 [n, dimension].

        Raises NotFiniteError, CancelledError, OutOfMemoryError and LibraryError.
        """
        return np.concatenate(
            list(self._embedder.stream(texts, self._options, cancel=self._cancel))
        )

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens that are evaluated for each text."""
        pieces = self._embedder.pieces(texts, self._options)
        return [sum(len(piece.ids) for piece in each) for each in pieces]

    def close(self) -> None:
        """Free the engine."""
        self._embedder.close()
        self._engine.close()


class Comparison:
    """Compares engines with llama.cpp, whose vectors of the texts are computed once.

    `clock` returns seconds.
    """

    def __init__(self, llama: SampleEmbedder, texts: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        lengths = llama.lengths(texts)
        first = -(-len(texts) // _GROUPS)
        self._query = texts[:1]
        llama.embed(self._query)  # the first pass is slower
        rate = sum(lengths[:first]) / self._seconds(llama, texts[:first])
        checked = fitting(lengths, rate * _CHECK_SECONDS, least=first)
        self._texts = texts[:checked]
        self._timed = texts[: fitting(lengths[:checked], rate * _ROUND_SECONDS, least=_LEAST_TEXTS)]
        self._vectors = llama.embed(self._texts)

    def measure(self, llama: SampleEmbedder, candidate: SampleEmbedder) -> Measures:
        """Compare an engine. Raises what its passes raise, NotFiniteError among them."""
        llama.embed(self._query)  # it may have been loaded anew
        found = cosines(self._vectors, candidate.embed(self._texts))
        return Measures(
            texts=len(self._texts),
            mean_cosine=float(found.mean()),
            least_cosine=float(found.min()),
            speed=self._ratio(llama, candidate, self._timed, _ROUNDS),
            query_speed=self._ratio(llama, candidate, self._query, _QUERY_ROUNDS),
        )

    def _ratio(
        self, llama: SampleEmbedder, candidate: SampleEmbedder, texts: Sequence[str], rounds: int
    ) -> float:
        """Return llama.cpp's seconds to the candidate's, medians of rounds in which both run.

        Two rounds will do if they agree, otherwise there are up to `rounds`.
        """
        pairs: list[tuple[float, float]] = []
        while len(pairs) < _LEAST_ROUNDS or (len(pairs) < rounds and not _agree(pairs)):
            pairs.append((self._seconds(llama, texts), self._seconds(candidate, texts)))
        theirs, own = (statistics.median(each) for each in zip(*pairs, strict=True))
        return float(theirs / own)

    def _seconds(self, embedder: SampleEmbedder, texts: Sequence[str]) -> float:
        start = self._clock()
        embedder.embed(texts)
        return max(self._clock() - start, _SHORTEST)


def _agree(pairs: Sequence[tuple[float, float]]) -> bool:
    """Return whether all rounds found about the same ratio."""
    ratios = [theirs / own for theirs, own in pairs]
    return max(ratios) <= _AGREEING * min(ratios)


def fitting(lengths: Sequence[int], tokens: float, *, least: int) -> int:
    """Return how many of the first texts have up to so many tokens, but at least `least`."""
    return max(sum(total <= tokens for total in accumulate(lengths)), min(least, len(lengths)))


def cosines(left: Vectors, right: Vectors) -> NDArray[np.float64]:
    """Return the cosine of each pair of vectors, float64 [n]; 0 for a vector of zeros."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: NDArray[np.float64] = (a * b).sum(axis=1) / np.maximum(lengths, _TINY)
    return found


@cache
def sample_texts() -> tuple[str, ...]:
    """The texts of the check: several languages, code, tables, from a word to 900 tokens.

    Written for gritlite. In whatever number the first ones are taken, they are of many kinds.
    """
    short = paragraphs(COMPARISON_TEXTS[0].read_text("utf-8"))
    long = [" ".join(short[i : i + _JOINED]) for i in range(0, len(short), _JOINED)]
    lines = _TEXTS.read_text("utf-8").removesuffix("\n").split(_BETWEEN)
    return tuple(_spread([*lines, *long]))


def _spread(texts: Sequence[str]) -> Iterator[str]:
    for group in range(_GROUPS):
        yield from texts[group::_GROUPS]
