"""Loading a file's weights: in the compute thread, with progress, until it is told to stop.

llama.cpp calls back before each tensor. That callback notes and returns two plain values, so
that no error can arise within C; whoever waits for the load is told of it, and may raise errors.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gritlite.runtime.llama.computing import compute_thread
from gritlite.runtime.llama.library import C


class ModelLoad:
    """One load of a file with llama.cpp's parameters `params`."""

    def __init__(self, path: Path, params: Any) -> None:
        self._path, self._params = os.fsencode(path), params
        self._share = 0.0
        self._stopped = False
        self._model: ctypes.c_void_p | None = None
        self._callback = C.llama_progress_callback(self._on_progress)
        params.progress_callback = self._callback

    def _on_progress(self, share: float, _data: object) -> bool:
        self._share = share
        return not self._stopped

    def run(self, on_progress: Callable[[float], None] | None) -> ctypes.c_void_p | None:
        """Return the model's C pointer; None if llama.cpp refuses the file, for which see its log.

        Ctrl-C ends the load before the next tensor, and so does an error of `on_progress`, which
        is called with the share that is done, from 0 to 1. Both are raised once nothing is left
        of the load.
        """

        def meanwhile() -> None:
            if on_progress is not None:
                on_progress(self._share)

        try:
            compute_thread().call(self._load, self._stop, meanwhile=meanwhile)
        except BaseException:
            if self._model:  # it was loaded before it could be stopped
                C.llama_model_free(self._model)
            raise
        return self._model

    def _load(self) -> None:
        self._model = C.llama_model_load_from_file(self._path, self._params)

    def _stop(self) -> None:
        self._stopped = True
