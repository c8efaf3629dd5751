"""The interface that embedding tasks need from a model, implemented for `GritLM`.

Tasks pass texts and plain instructions; the encoder makes prompts of them and limits
the length. So the same tasks run with other models: see benchmarks/minilm.py.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from gritlite.errors import InputError
from gritlite.runtime.embed import Vectors
from gritlite.runtime.model import GritLM
from gritlite.system.progress import ProgressCallback
from gritlite.system.wording import counted


class Encoder(Protocol):
    """A model that embeds."""

    @property
    def max_length(self) -> int:
        """The maximum number of tokens of a text."""

    @property
    def cut(self) -> int:
        """The number of texts cut to that length so far."""

    def stream(
        self, texts: Sequence[str], instruction: str, progress: Callable[[int], None]
    ) -> Iterator[Vectors]:
        """Yield vectors of unit length, float32 [k, dimension], in the order of the texts.

        `progress` may be called with the number of texts embedded so far. An InputError
        about a text carries its number, from 0.
        """


class GritEncoder:
    """A GritLM model as an `Encoder`.

    A text of more than `max_length` tokens with its prompt (default: what one
    pass can hold) is an InputTooLongError, or is cut if `truncate`. Vectors have `dimensions`
    numbers, by default all. Raises UsageError for a size that the model was not trained for.
    """

    def __init__(
        self,
        model: GritLM,
        *,
        max_length: int | None = None,
        truncate: bool = False,
        dimensions: int | None = None,
    ) -> None:
        model.format.check_dimensions(dimensions, model.dimension)
        self._model = model
        self._dimensions = dimensions
        self._max_length = min(max_length or model.max_length, model.max_length)
        self._too_long: Literal["truncate", "error"] = "truncate" if truncate else "error"
        self._cuts = _Counter()

    @property
    def max_length(self) -> int:
        """The maximum number of tokens of a text, including its prompt."""
        return self._max_length

    @property
    def cut(self) -> int:
        """The number of texts cut so far."""
        return self._cuts.count

    def stream(
        self, texts: Sequence[str], instruction: str, progress: Callable[[int], None]
    ) -> Iterator[Vectors]:
        """Embed `texts`, all of which are checked before the first is embedded."""
        prompt = self._model.format.with_instruction(instruction)
        self._model.check(
            texts, instruction=prompt, max_length=self._max_length, too_long=self._too_long
        )
        yield from self._model.encode_stream(
            texts,
            instruction=prompt,
            max_length=self._max_length,
            too_long=self._too_long,
            dimensions=self._dimensions,
            on_cut=self._cuts,
            progress=progress,
        )


class _Counter(threading.Event):
    """An event that counts how often it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def set(self) -> None:
        self.count += 1
        super().set()


@dataclass(frozen=True)
class Texts:
    """Texts to embed with one instruction; `places` are their origins, for errors."""

    texts: Sequence[str]
    places: Sequence[str]
    instruction: str = ""


@dataclass(frozen=True)
class Embedded:
    """The vectors of several `Texts`, and a note on how the texts were changed."""

    vectors: list[Vectors]
    note: str


def embed(encoder: Encoder, parts: Sequence[Texts], progress: ProgressCallback) -> Embedded:
    """Embed several lists of texts with one progress callback.

    Raises what the encoder raises, with the place of the text it is about.
    """
    done, total, cut = 0, sum(len(part.texts) for part in parts), encoder.cut
    vectors = []
    for part in parts:
        blocks = []
        before = done

        def advance(count: int, before: int = before) -> None:
            progress(before + count, total)

        try:
            for block in encoder.stream(part.texts, part.instruction, advance):
                blocks.append(block)
                done += len(block)
                progress(done, total)
        except InputError as error:
            if error.index is None:
                raise
            raise type(error)(f"{part.places[error.index]}: {error.problem}") from error
        vectors.append(np.concatenate(blocks))
    cut = encoder.cut - cut
    limit = counted(encoder.max_length, "token")
    note = f"{cut:,} of {counted(total, 'text')} cut to {limit}" if cut else ""
    return Embedded(vectors, note)
