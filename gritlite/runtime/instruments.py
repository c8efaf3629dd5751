"""Instruments for measuring a model: passes that expose activations, and weight editing.

They work with either attention; nothing is pooled or sampled. The module does not know
texts.
"""

import threading
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import UsageError
from gritlite.prompt import Attention
from gritlite.runtime.engine import HiddenStates
from gritlite.runtime.llama import MatrixInput, Watch
from gritlite.runtime.model import GritLM


class Observer:
    """Runs passes of up to `pass_tokens` tokens and shows `watch` each matrix's inputs.

    Thread-safe; use it as a context manager. Closing the model closes it too, after the
    pass in progress.
    """

    def __init__(
        self, model: GritLM, watch: Watch, *, attention: Attention, pass_tokens: int
    ) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._watcher: int | None = None  # the thread in which `watch` runs
        self._watch = watch
        self._pass = model.engine.open_pass(pass_tokens, attention, self._show)
        model.attach(self)

    def run(self, sequences: Sequence[Sequence[int]]) -> HiddenStates:
        """Run one pass over token sequences that do not attend to each other.

        Returns the final hidden states of all tokens, float32 [n, dimension]. Errors of
        `watch` are raised after the pass.
        """
        self._model.scheduler.check_process()
        ids = [np.asarray(sequence, np.int32) for sequence in sequences]
        with self._lock:
            hidden, _ = self._pass.run(ids, [0] * len(ids))
        return hidden

    def _show(self, seen: MatrixInput) -> None:
        self._watcher = threading.get_ident()
        try:
            self._watch(seen)
        finally:
            self._watcher = None

    def close(self) -> None:
        """Free the memory, after the pass in progress. Raises UsageError within `watch`."""
        if self._watcher == threading.get_ident():
            raise UsageError("an observer cannot be closed while it runs: close it after `run`")
        self._model.detach(self)
        with self._lock:
            self._pass.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WeightEditor:
    """Replaces tensors of an `editable` model in place, to measure the effect.

    Do not use it while other threads use the model. Raises UsageError for a model that is
    not editable.
    """

    def __init__(self, model: GritLM) -> None:
        self._model = model
        self._tensors = model.engine.tensor_editor()
        self._sizes = {info.name: info.size for info in model.file.tensors}

    def replace(self, tensor: str, data: NDArray[np.uint8]) -> None:
        """Replace all bytes of a tensor by `data`, in the tensor's own type.

        Raises UsageError for a tensor that the model does not have or use, and for a wrong
        number of bytes.
        """
        size = self._sizes.get(tensor)
        if size is not None and data.nbytes != size:
            raise UsageError(f"{tensor} has {size:,} bytes, not {data.nbytes:,}")
        self._tensors.replace(tensor, data)
        self._model.weights_changed()
