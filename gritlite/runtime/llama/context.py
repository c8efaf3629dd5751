"""A llama.cpp context: evaluates batches of tokens and holds their KV cache.

`decode` runs one batch. A causal context then has logits for sampling; a `hidden` context
returns the final hidden states (`hidden_states`). Bidirectional passes are never split into
micro-batches, as that silently gives wrong vectors (kv_unified, n_ubatch = n_batch).
"""

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gritlite.errors import (
    ArchitectureError,
    CancelledError,
    ClosedError,
    FormatError,
    InputTooLongError,
    LibraryError,
    OutOfMemoryError,
    UsageError,
)
from gritlite.runtime.llama.computing import compute_thread
from gritlite.runtime.llama.fork import note_threads
from gritlite.runtime.llama.hidden_states import HiddenStates, Watch
from gritlite.runtime.llama.library import C, clear_messages, is_allocation_failure, last_message
from gritlite.runtime.llama.stop_flag import StopFlag
from gritlite.runtime.llama.weights import Weights
from gritlite.runtime.signals import signals_deferred
from gritlite.system.watch import Flag

MAX_SEQUENCES = 256  # LLAMA_MAX_SEQ in llama-cparams.h
_FLASH_ATTENTION_ON = 1
_POOLING_NONE = 0
_ABORTED = 2  # what llama_decode returns if its abort callback says so, llama.h


@dataclass(frozen=True)
class ContextOptions:
    """The options of a context.

    `n_ctx` is the size of the KV cache in tokens, `n_batch` the maximum number of tokens
    per `decode` call. `hidden` contexts return hidden states; others compute logits of one
    token per sequence of a batch or, with `all_logits`, of any number. Sequences share the
    cells of the cache or, unless `unified`, have equal parts of it.
    """

    n_ctx: int
    n_batch: int
    threads: int
    n_seq_max: int = 1
    causal: bool = True
    hidden: bool = False
    all_logits: bool = False
    unified: bool = True


@dataclass(frozen=True)
class Batch:
    """Tokens for one `decode` call, all arrays int32 [n] but `outputs`, bool [n].

    `positions` count within a sequence; `outputs` marks the tokens whose
    hidden state or logits are computed.
    """

    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    sequences: NDArray[np.int32]
    outputs: NDArray[np.bool_]

    @classmethod
    def of(cls, sequences: Sequence[ArrayLike], starts: Sequence[int]) -> Self:
        """Return a batch of whole sequences, whose outputs begin at `starts`."""
        parts = [np.asarray(tokens, np.int32) for tokens in sequences]
        lengths = [len(part) for part in parts]
        return cls(
            tokens=np.concatenate(parts),
            positions=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
            sequences=np.repeat(np.arange(len(parts), dtype=np.int32), lengths),
            outputs=np.concatenate(
                [np.arange(n) >= start for n, start in zip(lengths, starts, strict=True)]
            ),
        )


class Context:
    """A KV cache and compute buffers over shared weights. Not thread-safe.

    A `hidden` context calls `watch` with the inputs of each matrix of the layers; others
    call `show_nodes` with the address of each node before it is computed. Raises
    OutOfMemoryError if llama.cpp cannot allocate it.
    """

    def __init__(
        self,
        weights: Weights,
        options: ContextOptions,
        watch: Watch | None = None,
        show_nodes: Callable[[int], None] | None = None,
    ) -> None:
        if not 1 <= options.n_seq_max <= MAX_SEQUENCES:
            raise UsageError(f"n_seq_max is {options.n_seq_max}: expected 1 to {MAX_SEQUENCES}")
        self.options = options
        self.weights = weights
        self._hidden_states = HiddenStates(weights.n_embd, watch) if options.hidden else None
        self._show_nodes = _ask_callback(show_nodes) if show_nodes else None
        note_threads(options.threads)
        clear_messages()
        with signals_deferred():  # llama.cpp's log calls back
            self._context = C.llama_init_from_model(weights.model, self._params())
        if not self._context:
            remedy = ", or fewer layers on the GPU (gpu_layers)" if weights.on_gpu else ""
            raise OutOfMemoryError(
                f"no context of {options.n_ctx} tokens could be made ({last_message()}): use a "
                f"shorter one{remedy}"
            )
        self._free = weights.memory.free_with(self, partial(C.llama_free, self._context))
        self._memory = C.llama_get_memory(self._context)
        C.llama_set_causal_attn(self._context, options.causal)
        self._stop = StopFlag(self._context)

    def _params(self) -> Any:
        options = self.options
        params = C.llama_context_default_params()
        params.n_ctx = options.n_ctx
        params.n_batch = params.n_ubatch = options.n_batch
        params.n_seq_max = options.n_seq_max
        every = options.hidden or options.all_logits
        params.n_outputs_max = options.n_batch if every else options.n_seq_max
        params.n_threads = params.n_threads_batch = options.threads
        params.flash_attn_type = _FLASH_ATTENTION_ON
        params.pooling_type = _POOLING_NONE
        params.kv_unified = options.unified
        params.no_perf = True
        if self._hidden_states is not None:
            params.cb_eval = self._hidden_states.callback
        elif self._show_nodes is not None:
            params.cb_eval = self._show_nodes
        return params

    @property
    def pointer(self) -> ctypes.c_void_p:
        """The C pointer. Raises ClosedError after `close`."""
        if not self._context:
            raise ClosedError
        return self._context  # type: ignore[no-any-return]

    def decode(self, batch: Batch, cancel: Flag | None = None) -> NDArray[np.float32]:
        """Evaluate a batch and, in a `hidden` context, return float32 [n_outputs, n_embd].

        Other contexts return an empty array; use `logits`. Ctrl-C and `cancel` end it after
        the node of the graph that is being computed. Raises CancelledError, the errors of
        `watch`, InputTooLongError if the KV cache is full, OutOfMemoryError if llama.cpp cannot
        allocate its buffers, and LibraryError if it fails otherwise.
        """
        struct, _keep_alive = _batch_struct(batch)
        if self._hidden_states is not None:
            self._hidden_states.begin()
        clear_messages()
        self._stop.clear()
        compute = partial(C.llama_decode, self.pointer, struct)
        status = compute_thread().call(compute, self._stop.set, cancel)
        if self._hidden_states is not None and self._hidden_states.error is not None:
            raise self._hidden_states.error
        if status == _ABORTED:
            raise CancelledError("the pass was cancelled")
        if status == 1:
            raise InputTooLongError(
                f"{len(batch.tokens)} more tokens do not fit the context of "
                f"{self.options.n_ctx}: use a longer context or a shorter text"
            )
        if status != 0 and is_allocation_failure(last_message()):
            raise OutOfMemoryError(
                f"no memory for a batch of {len(batch.tokens)} tokens ({last_message()}): use "
                "shorter texts, or close other programs"
            )
        if status != 0:
            raise LibraryError(f"llama.cpp failed with status {status}: {last_message()}")
        if self._hidden_states is None:
            return np.empty((0, self.weights.n_embd), np.float32)
        hidden = self._hidden_states.hidden
        if hidden is None or len(hidden) != np.count_nonzero(batch.outputs):
            raise LibraryError(
                "llama.cpp split a bidirectional pass or renamed its final hidden state: "
                "this version of llama-cpp-python is not supported"
            )
        return hidden

    def logits(self, count: int) -> NDArray[np.float32]:
        """Return the logits of the last batch's outputs, float32 [count, n_vocab].

        The view is overwritten by the next `decode`; `count` must be the number of outputs.
        """
        if count == 0:
            return np.empty((0, self.weights.n_vocab), np.float32)
        pointer = C.llama_get_logits(self.pointer)
        return np.ctypeslib.as_array(pointer, (count, self.weights.n_vocab))

    def save(self, sequence: int) -> bytes:
        """Return a sequence's keys, values and positions in llama.cpp's own format."""
        size = C.llama_state_seq_get_size(self.pointer, sequence)
        buffer = np.empty(size, np.uint8)
        address = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        if C.llama_state_seq_get_data(self.pointer, address, size, sequence) != size:
            raise LibraryError(f"llama.cpp cannot save a key-value state: {last_message()}")
        return buffer.tobytes()

    def restore(self, sequence: int, state: bytes) -> None:
        """Restore a sequence from a `save` of a context over the same weights.

        Raises FormatError if llama.cpp rejects the state.
        """
        buffer = np.frombuffer(state, np.uint8)
        address = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        clear_messages()
        with signals_deferred():  # llama.cpp's log calls back
            read = C.llama_state_seq_set_data(self.pointer, address, len(buffer), sequence)
        if not read or read != len(buffer):
            raise FormatError(
                f"llama.cpp rejects a key-value state of {len(buffer)} bytes: {last_message()}"
            )

    @contextlib.contextmanager
    def bidirectional(self) -> Iterator[None]:
        """Make a causal context bidirectional within the block."""
        C.llama_set_causal_attn(self.pointer, False)
        try:
            yield
        finally:
            C.llama_set_causal_attn(self.pointer, True)

    def clear(self) -> None:
        """Remove all sequences."""
        _ = self.pointer
        C.llama_memory_clear(self._memory, False)

    def remove(self, sequence: int, start: int, stop: int = -1) -> None:
        """Remove a sequence's tokens at positions from `start` on, or up to `stop`."""
        _ = self.pointer
        C.llama_memory_seq_rm(self._memory, sequence, start, stop)

    def shift(self, sequence: int, distance: int) -> None:
        """Shift a sequence by `distance` positions; the next `decode` rotates its keys.

        Raises ArchitectureError for a model whose keys cannot be rotated.
        """
        _ = self.pointer
        if not C.llama_memory_can_shift(self._memory):
            raise ArchitectureError(
                "this model's key-value states cannot be moved: use only one document state"
            )
        C.llama_memory_seq_add(self._memory, sequence, -1, -1, distance)

    def join(self, source: int, target: int) -> None:
        """Move the tokens of `source` to the sequence `target`, which keeps its own."""
        _ = self.pointer
        C.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        C.llama_memory_seq_rm(self._memory, source, -1, -1)

    def close(self) -> None:
        """Free the context. The weights stay loaded."""
        self._context = None
        self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ask_callback(show: Callable[[int], None]) -> Any:
    """Return a scheduler callback that calls `show` with each node but reads no values."""

    def on_node(node: int, ask: bool, _data: object) -> bool:
        if ask:
            show(node)
        return not ask

    return C.ggml_backend_sched_eval_callback(on_node)


def _batch_struct(batch: Batch) -> tuple[Any, tuple[object, ...]]:
    """Return a C batch that points into numpy arrays, and those arrays, to be kept alive."""
    n = len(batch.tokens)
    tokens = np.ascontiguousarray(batch.tokens, np.int32)
    positions = np.ascontiguousarray(batch.positions, np.int32)
    sequences = np.ascontiguousarray(batch.sequences, np.int32)
    outputs = np.ascontiguousarray(batch.outputs, np.int8)
    counts = np.ones(n, np.int32)
    # llama_batch wants one pointer per token to its list of sequences
    pointers = sequences.ctypes.data + sequences.itemsize * np.arange(n, dtype=np.uintp)
    int_pointer = ctypes.POINTER(ctypes.c_int32)
    struct = C.llama_batch(
        n_tokens=n,
        token=tokens.ctypes.data_as(int_pointer),
        embd=None,
        pos=positions.ctypes.data_as(int_pointer),
        n_seq_id=counts.ctypes.data_as(int_pointer),
        seq_id=pointers.ctypes.data_as(ctypes.POINTER(int_pointer)),
        logits=outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
    )
    return struct, (tokens, positions, sequences, outputs, counts, pointers)
