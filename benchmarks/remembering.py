"""An encoder for the tasks of `gritlite eval` that embeds the same texts only once."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gritlite.eval.encoder import Encoder
from gritlite.runtime.embed import Vectors


class Remembering:
    """Keeps the vectors of texts that were embedded together, with the same instruction.

    Tasks get what `finish` makes of them; it may be set anew between tasks.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.finish: Callable[[Vectors], Vectors] = lambda vectors: vectors
        self._known: dict[tuple[str, ...], Vectors] = {}

    @property
    def max_length(self) -> int:
        """The maximum number of tokens of a text."""
        return self._encoder.max_length

    @property
    def cut(self) -> int:
        """The number of texts cut."""
        return self._encoder.cut

    def stream(
        self, texts: Sequence[str], instruction: str, progress: Callable[[int], None]
    ) -> Iterator[Vectors]:
        """Yield the texts' vectors in one block."""
        key = (instruction, *texts)
        if key not in self._known:
            self._known[key] = np.concatenate(
                list(self._encoder.stream(texts, instruction, progress))
            )
        yield self.finish(self._known[key])
