"""The weights of one loaded GGUF file.

Several contexts may share one `Weights`. Nothing here evaluates tokens.
"""

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Self

from gritlite.errors import (
    ClosedError,
    DeviceError,
    FormatError,
    OutOfMemoryError,
    UsageError,
)
from gritlite.runtime.llama.devices import gpu_backends
from gritlite.runtime.llama.fork import check_fork
from gritlite.runtime.llama.library import C, clear_messages, is_allocation_failure, last_message
from gritlite.runtime.llama.model_load import ModelLoad
from gritlite.runtime.llama.native_model import NativeModel

_LOAD_INTO_MEMORY = 0  # LLAMA_LOAD_MODE_NONE: not mapped
_NO_DEVICES = (ctypes.c_void_p * 1)()  # a list of devices that ends where it begins
GpuLayers = int | Literal["auto", "all"]


class Weights:
    """The weights of one GGUF file. Close it, use it as a context manager, or drop it.

    `gpu_layers` is a number of layers, "all", or "auto": all if the build finds a GPU,
    otherwise none. With 0 the GPU is not used at all. `repack` lets llama.cpp make a second,
    faster copy of quantized weights if the processor has a kernel for it. `editable` weights
    are a private copy in memory, in the file's layout. `on_progress` is called with the share
    that is loaded, in this thread; an error that it raises ends the load and is raised here.

    Raises FormatError if llama.cpp rejects the file, OutOfMemoryError if it does not fit,
    DeviceError for GPU layers in a build that finds no GPU, and UsageError in a forked process
    (see `fork`).
    """

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: GpuLayers = "auto",
        repack: bool = True,
        vocab_only: bool = False,
        editable: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        check_fork()
        self.editable = editable
        params = C.llama_model_default_params()
        if editable:
            params.load_mode = _LOAD_INTO_MEMORY
        params.n_gpu_layers = _layer_count(gpu_layers)
        if params.n_gpu_layers == 0:
            # it would send large products there all the same (op_offload)
            params.devices = ctypes.addressof(_NO_DEVICES)
        params.use_extra_bufts = repack and not editable
        params.vocab_only = vocab_only
        clear_messages()
        self._lock = threading.Lock()  # held while the vocabulary is used, so `close` can wait
        self._model = ModelLoad(path, params).run(on_progress)
        if not self._model:
            raise _not_loaded(path, last_message(), on_gpu=params.n_gpu_layers != 0)
        self.memory = NativeModel(self._model)
        self._free = self.memory.free_with(self, lambda: None)
        self._vocab = C.llama_model_get_vocab(self._model)
        self.n_vocab: int = C.llama_vocab_n_tokens(self._vocab)
        self.n_embd: int = C.llama_model_n_embd(self._model)
        self.n_layer: int = C.llama_model_n_layer(self._model)
        self.n_params: int = C.llama_model_n_params(self._model)
        self.on_gpu: bool = params.n_gpu_layers != 0
        self.whole_on_gpu: bool = not 0 <= params.n_gpu_layers <= self.n_layer  # head included
        self.n_ctx_train: int = C.llama_model_n_ctx_train(self._model)

    @property
    def model(self) -> ctypes.c_void_p:
        """The C pointer. Raises ClosedError after `close`."""
        if not self._model:
            raise ClosedError
        return self._model

    @contextlib.contextmanager
    def vocabulary(self) -> Iterator[Any]:
        """The C pointer to the vocabulary; `close` waits until the block ends."""
        with self._lock:
            _ = self.model
            yield self._vocab

    def metadata(self, key: str) -> str | None:
        """Return the value of a metadata key as text, or None."""
        buffer = ctypes.create_string_buffer(64)
        size = C.llama_model_meta_val_str(self.model, key.encode(), buffer, len(buffer))
        return None if size < 0 else buffer.value.decode("utf-8", "replace")

    @property
    def head_dims(self) -> tuple[int, int]:
        """The length of a head's key and of its value."""
        architecture = self.metadata("general.architecture")
        default = self.n_embd // max(1, C.llama_model_n_head(self.model))
        keys = (f"{architecture}.attention.{name}_length" for name in ("key", "value"))
        key, value = (int(self.metadata(name) or default) for name in keys)
        return key, value

    def close(self) -> None:
        """Free the weights once all contexts over them are closed."""
        with self._lock:
            self._model = None
            self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _not_loaded(path: Path, reason: str, *, on_gpu: bool) -> FormatError | OutOfMemoryError:
    """Return the error for a file that llama.cpp failed to load for `reason`."""
    if not is_allocation_failure(reason):
        return FormatError(f"llama.cpp cannot load {path}: {reason}")
    remedy = "put fewer layers on the GPU (gpu_layers), or " if on_gpu else ""
    return OutOfMemoryError(
        f"{path} does not fit in memory ({reason}): {remedy}use a file of a smaller type"
    )


def _layer_count(gpu_layers: GpuLayers) -> int:
    supported = bool(C.llama_supports_gpu_offload())
    if gpu_layers == "auto":
        return -1 if supported else 0
    if gpu_layers != "all" and not isinstance(gpu_layers, int):
        raise UsageError(f"gpu_layers is {gpu_layers!r}: expected a number, 'all' or 'auto'")
    if isinstance(gpu_layers, int) and not 0 <= gpu_layers < 2**31:
        raise UsageError(f"gpu_layers is {gpu_layers}: expected 0 to {2**31 - 1}, 'all' or 'auto'")
    if gpu_layers != 0 and not supported:
        backends = ", ".join(gpu_backends())
        lack = (
            f"sees no GPU for its {backends} support: install the GPU's driver"
            if backends
            else "has no GPU support: see docs/gpu.md to build one"
        )
        raise DeviceError(
            f"{gpu_layers} GPU layers asked for, but this build of llama.cpp {lack}, "
            "or pass 0 or 'auto'"
        )
    return -1 if gpu_layers == "all" else int(gpu_layers)
