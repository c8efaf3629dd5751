"""Instruments for measuring a model: watched passes, and weights that are changed in place.

For statistics over a model, in either attention; nothing is pooled or sampled. The module
does not know texts.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import UsageError
from gritlite.prompt import Attention
from gritlite.runtime.engine import HiddenStates
from gritlite.runtime.llama import Watch
from gritlite.runtime.model import GritLM


class Observer:
    """Passes of at most `pass_tokens` tokens, in which `watch` sees each matrix's inputs.

    Not thread-safe; use it as a context manager. It is freed with the model at the latest.
    """

    def __init__(
        self, model: GritLM, watch: Watch, *, attention: Attention, pass_tokens: int
    ) -> None:
        self._model = model
        self._pass = model.engine.open_pass(pass_tokens, attention, watch)
        model.attach(self)

    def run(self, sequences: Sequence[Sequence[int]]) -> HiddenStates:
        """One pass over token sequences that do not see each other.

        Returns the final hidden states of all tokens, float32 [n, dimension]. Raises
        what `watch` raises.
        """
        ids = [np.asarray(sequence, np.int32) for sequence in sequences]
        hidden, _ = self._pass.run(ids, [0] * len(ids))
        return hidden

    def close(self) -> None:
        """Free the memory."""
        self._model.detach(self)
        self._pass.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WeightEditor:
    """Puts other bytes into the tensors of an `editable` model, to see what that does.

    Not for use beside other threads. Raises UsageError for a model that is not editable.
    """

    def __init__(self, model: GritLM) -> None:
        self._model = model
        self._tensors = model.engine.tensor_editor()
        self._sizes = {info.name: info.size for info in model.file.tensors}

    def replace(self, tensor: str, data: NDArray[np.uint8]) -> None:
        """Put `data`, all of a tensor's bytes in its own type, in the place of what is there.

        Raises UsageError for a tensor that the model does not have or use, and for another
        number of bytes.
        """
        size = self._sizes.get(tensor)
        if size is not None and data.nbytes != size:
            raise UsageError(f"{tensor} has {size:,} bytes, not {data.nbytes:,}")
        self._tensors.replace(tensor, data)
        self._model.weights_changed()
