"""One loaded GGUF file: its weights and its vocabulary.

Several contexts may share one `Weights`. Nothing here evaluates tokens. The
tokenizer functions of llama.cpp are thread-safe.
"""

import contextlib
import ctypes
import os
import threading
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import (
    ClosedError,
    DeviceError,
    FormatError,
    InputError,
    TokenizerError,
    UsageError,
)
from gritlite.prompt import NORMALIZER_KEY, check_normalizer
from gritlite.runtime.llama.library import C, forget_messages, last_message
from gritlite.runtime.llama.signals import signals_deferred

Tokens = NDArray[np.int32]
_LOAD_INTO_MEMORY = 0  # LLAMA_LOAD_MODE_NONE: not mapped
GpuLayers = int | Literal["auto", "all"]


class Weights:
    """The weights and vocabulary of one GGUF file. Use as a context manager, or close it.

    `gpu_layers` is a number of layers, "all", or "auto": all where the build
    has GPU support, none elsewhere. `repack` lets llama.cpp keep a second,
    faster copy of quantized weights where the processor has a kernel for it.
    `editable` weights are a copy in memory, as they stand in the file.

    Raises FormatError when llama.cpp refuses the file, and DeviceError when
    layers are asked for of a build without GPU support.
    """

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: GpuLayers = "auto",
        repack: bool = True,
        vocab_only: bool = False,
        editable: bool = False,
    ) -> None:
        self.editable = editable
        params = C.llama_model_default_params()
        if editable:
            params.load_mode = _LOAD_INTO_MEMORY
        params.n_gpu_layers = _layer_count(gpu_layers)
        params.use_extra_bufts = repack and not editable
        params.vocab_only = vocab_only
        forget_messages()
        self._lock = threading.Lock()  # held while the vocabulary is used, so `close` can wait
        with signals_deferred():  # llama.cpp's log calls back
            self._model = C.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise FormatError(f"llama.cpp cannot load {path}: {last_message()}")
        self._vocab = C.llama_model_get_vocab(self._model)
        self.n_vocab: int = C.llama_vocab_n_tokens(self._vocab)
        self.n_embd: int = C.llama_model_n_embd(self._model)
        self.n_layer: int = C.llama_model_n_layer(self._model)
        self.n_params: int = C.llama_model_n_params(self._model)
        self.on_gpu: bool = params.n_gpu_layers != 0
        self.n_ctx_train: int = C.llama_model_n_ctx_train(self._model)
        self.bos: int = C.llama_vocab_bos(self._vocab)
        self.eos: int = C.llama_vocab_eos(self._vocab)
        self.adds_bos: bool = C.llama_vocab_get_add_bos(self._vocab) and self.bos >= 0
        try:
            self._normalizer = check_normalizer(self._metadata(NORMALIZER_KEY))
        except FormatError:
            self.close()
            raise

    @property
    def model(self) -> ctypes.c_void_p:
        """The C pointer. Raises ClosedError after `close`."""
        if not self._model:
            raise ClosedError
        return self._model  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def vocabulary(self) -> Iterator[Any]:
        """The C pointer to the vocabulary, safe from `close` within the block."""
        with self._lock:
            _ = self.model
            yield self._vocab

    def _metadata(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(64)
        size = C.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return None if size < 0 else buffer.value.decode("utf-8", "replace")

    def normalize(self, text: str) -> str:
        """A text in the Unicode form that `tokenize` gives it, the one the vocabulary has."""
        return text if self._normalizer is None else unicodedata.normalize(self._normalizer, text)

    def tokenize(self, text: str, *, add_special: bool, parse_control: bool) -> Tokens:
        """Token ids of `text`, int32 [n].

        `add_special` adds the BOS (and EOS) tokens that the file asks for;
        `parse_control` lets `<s>` and its like in the text become control tokens.
        """
        data = _utf8(self.normalize(text))
        size = len(data) + 2
        while True:
            buffer = np.empty(size, np.int32)
            pointer = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
            with self.vocabulary() as vocab:
                count = C.llama_tokenize(
                    vocab, data, len(data), pointer, size, add_special, parse_control
                )
            if count >= 0:
                return buffer[:count].copy()
            if -count <= size:
                raise TokenizerError(f"llama.cpp cannot tokenize a text of {len(data)} bytes")
            size = -count  # more tokens than bytes: a prefix space that falls back to bytes

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes a token stands for; empty for a control token unless `special`."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            with self.vocabulary() as vocab:
                count: int = C.llama_token_to_piece(vocab, token, buffer, size, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def is_end(self, token: int) -> bool:
        """Whether a token ends an answer (EOS, end of turn, ...)."""
        with self.vocabulary() as vocab:
            return bool(C.llama_vocab_is_eog(vocab, token))

    @cached_property
    def control(self) -> NDArray[np.bool_]:
        """Which tokens are control tokens, bool [n_vocab]."""
        ids = range(self.n_vocab)
        with self.vocabulary() as vocab:
            return np.fromiter((C.llama_vocab_is_control(vocab, i) for i in ids), np.bool_)

    def control_spelling(self, token: int) -> str:
        """How a BOS or EOS token is written in a template, "" where the vocabulary has none.

        llama.cpp then names a token all the same: 11 in byte-level BPE, whatever that is.
        """
        return self.spelling(token) if token >= 0 and self.control[token] else ""

    def control_spellings(self) -> list[str]:
        """How the control tokens are spelled, the longest first."""
        texts = {self.spelling(int(token)) for token in np.flatnonzero(self.control)}
        return sorted(texts - {""}, key=len, reverse=True)

    def spelling(self, token: int) -> str:
        """The text that stands for a token, control tokens included; empty for id -1."""
        return self.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def close(self) -> None:
        """Free the weights. Contexts over them must be closed before."""
        with self._lock:
            if self._model:
                C.llama_model_free(self._model)
                self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{text[error.start]!a} in it is half of a surrogate pair and stands for no "
            "character: remove it"
        ) from error


def _layer_count(gpu_layers: GpuLayers) -> int:
    supported = bool(C.llama_supports_gpu_offload())
    if gpu_layers == "auto":
        return -1 if supported else 0
    if gpu_layers != "all" and not isinstance(gpu_layers, int):
        raise UsageError(f"gpu_layers is {gpu_layers!r}: expected a number, 'all' or 'auto'")
    if isinstance(gpu_layers, int) and gpu_layers < 0:
        raise UsageError(f"gpu_layers is {gpu_layers}: expected 0 or more, 'all' or 'auto'")
    if gpu_layers != 0 and not supported:
        raise DeviceError(
            f"{gpu_layers} GPU layers asked for, but this build of llama.cpp has no GPU support: "
            "see docs/gpu.md to build one, or pass 0 or 'auto'"
        )
    return -1 if gpu_layers == "all" else int(gpu_layers)
