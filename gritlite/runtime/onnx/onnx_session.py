"""A graph loaded by ONNX Runtime.

Bidirectional and causal passes are two sessions over the same mapped weights; each is loaded
when it is first used. The module does not know files' formats or tokens.

All passes run in a thread of their own. ONNX Runtime's int8 products leave another AMX tile
configuration behind in their thread than ggml's, which is loaded once a thread and assumed ever
after: llama.cpp's quantized products would be wrong in a thread that ran both.
"""

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import (
    ClosedError,
    DeviceError,
    GritLiteError,
    LibraryError,
    MissingExtraError,
    OutOfMemoryError,
)
from gritlite.graph.network import Network
from gritlite.prompt import Attention
from gritlite.runtime.onnx.session import Floats, LayerStates, Memory
from gritlite.runtime.onnx.stopping import awaited

try:
    import onnxruntime
except ModuleNotFoundError as error:
    raise MissingExtraError("onnxruntime", "onnx", "the engine onnx") from error

T = TypeVar("T")

GRAPHS: Mapping[Attention, str] = {"bidirectional": "embed.onnx", "causal": "prefill.onnx"}
_USUAL_TOKENS = 1024  # of a pass; the memory of a larger one is given back behind it
# attention computes the products of each token with all up to the end of its part, so that
# small parts are faster, down to where matrices are no longer used well
_PART_TOKENS = 256
_CUDA = "CUDAExecutionProvider"
_ALL_OPTIMIZATION = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
_NO_OPTIMIZATION = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # the files are optimized


_loaded: "weakref.WeakSet[onnxruntime.InferenceSession]" = weakref.WeakSet()


def _keep_loaded() -> None:
    """Never free the sessions in a forked process: that would wait for threads it has not got."""
    for session in _loaded:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_loaded)


class OnnxSession:
    """Runs the graphs in a folder. Not thread-safe.

    With `on_gpu` they are graphs of the form float16, as written, and run by CUDA; `extend`
    is for the processor. Raises DeviceError if the package cannot reach a GPU.
    """

    part_tokens = _PART_TOKENS

    def __init__(
        self, folder: Path, network: Network, *, threads: int, on_gpu: bool = False
    ) -> None:
        self._folder, self._network, self._threads = folder, network, threads
        self._on_gpu = on_gpu
        if on_gpu and _CUDA not in onnxruntime.get_available_providers():
            raise DeviceError(
                "this package of ONNX Runtime runs on no GPU: uninstall onnxruntime, and run  "
                'pip install "gritlite[onnx-gpu]"'
            )
        self._sessions: dict[Attention, onnxruntime.InferenceSession] = {}
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "onnxruntime")

    def run(
        self,
        embeddings: Floats,
        lengths: NDArray[np.int32],
        attention: Attention,
        *,
        past: Sequence[LayerStates] = (),
        return_states: bool = False,
        cancel: threading.Event | None = None,
    ) -> tuple[Floats, list[LayerStates]]:
        """See Session."""
        batch, tokens, _ = embeddings.shape
        earlier = past[0].keys.shape[2] if past else 0
        inputs: dict[str, NDArray[np.generic]] = {
            "embeddings": embeddings,
            "last_positions": (lengths + (earlier - 1)).astype(np.int32),
            "total_tokens": np.array(earlier + tokens, np.int32),
        }
        network = self._network
        nothing = np.empty((batch, network.kv_heads, 0, network.head_width), np.float32)
        for number in range(network.layers):
            before = past[number] if past else LayerStates(nothing, nothing)
            inputs[f"past.{number}.key"] = before.keys
            inputs[f"past.{number}.value"] = before.values
        names = ["hidden"]
        if return_states:
            layers = range(network.layers)
            names += [f"present.{n}.{part}" for n in layers for part in ("key", "value")]
        options = onnxruntime.RunOptions()
        if batch * tokens > _USUAL_TOKENS:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

        def run(session: onnxruntime.InferenceSession) -> list[Floats]:
            outputs: list[Floats] = session.run(names, inputs, options)
            return outputs

        hidden, *states = self._evaluate(attention, run, options, cancel)
        new = [array[:, :, earlier:] for array in states]
        return hidden, [LayerStates(*pair) for pair in zip(new[::2], new[1::2], strict=True)]

    def extend(self, embeddings: Floats, memory: Memory) -> None:
        """See Session. Attention reads and writes `memory` itself."""
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True  # the last layer ends at its states

        def run(session: onnxruntime.InferenceSession) -> None:
            session.run_with_iobinding(_bound(session, embeddings, memory), options)

        self._evaluate("causal", run, options, None)
        memory.tokens += embeddings.shape[1]

    def _evaluate(
        self,
        attention: Attention,
        run: Callable[[onnxruntime.InferenceSession], T],
        options: onnxruntime.RunOptions,
        cancel: threading.Event | None,
    ) -> T:
        def stop() -> None:
            options.terminate = True

        try:
            running = self._thread.submit(run, self._session(attention))
            return awaited(running, stop, cancel)
        except GritLiteError:
            raise
        except Exception as error:  # ONNX Runtime's own errors share no other base
            raise _translated(error) from error

    def _session(self, attention: Attention) -> onnxruntime.InferenceSession:
        if self._closed:
            raise ClosedError
        if attention not in self._sessions:
            path = self._folder / GRAPHS[attention]
            options = session_options(self._threads)
            providers = ["CPUExecutionProvider"]
            if self._on_gpu:
                options.graph_optimization_level = _ALL_OPTIMIZATION
                providers.insert(0, _CUDA)
            session = onnxruntime.InferenceSession(path, options, providers=providers)
            if session.get_providers()[0] != providers[0]:  # it falls back without an error
                raise DeviceError("ONNX Runtime cannot use the GPU: are CUDA and cuDNN installed?")
            self._sessions[attention] = session
            _loaded.add(session)
        return self._sessions[attention]

    def close(self) -> None:
        """See Session."""
        self._closed = True
        self._thread.shutdown()
        self._sessions.clear()


def _bound(
    session: onnxruntime.InferenceSession, embeddings: Floats, memory: Memory
) -> onnxruntime.IOBinding:
    """Return the inputs and outputs of `extend`: earlier and new states are the same arrays."""
    total = memory.tokens + embeddings.shape[1]
    binding = session.io_binding()
    binding.bind_cpu_input("embeddings", embeddings)
    binding.bind_cpu_input("last_positions", np.array([total - 1], np.int32))
    binding.bind_cpu_input("total_tokens", np.array(total, np.int32))
    for number, layer in enumerate(memory.layers):
        for part, array in (("key", layer.keys), ("value", layer.values)):
            place = ("cpu", 0, np.float32, array.shape, array.ctypes.data)
            binding.bind_input(f"past.{number}.{part}", *place)
            binding.bind_output(f"present.{number}.{part}", *place)
    return binding


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return the options of a session over an optimized graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = _NO_OPTIMIZATION
    options.log_severity_level = 4  # errors are raised, not printed too
    # threads spin while a pass runs, and sleep between passes
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _translated(error: Exception) -> Exception:
    text = str(error)
    if "alloc" in text.lower():
        return OutOfMemoryError(f"ONNX Runtime has too little memory for a pass ({text})")
    return LibraryError(f"ONNX Runtime failed: {text}")
