"""A graph loaded by ONNX Runtime.

Bidirectional and causal passes are two sessions, each loaded when it is first used. On the
processor both map the same weights; on a GPU each has its own. Inputs and outputs are bound
(ONNX Runtime's documentation: I/O Binding): only what a pass returns leaves the device, and the
keys and values of a prompt stay there between its parts. The module does not know files'
formats or tokens.
"""

import ctypes
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import MissingExtraError
from gritlite.graph.network import Network
from gritlite.prompt import Attention
from gritlite.runtime.onnx import device
from gritlite.runtime.onnx.device import Device
from gritlite.runtime.onnx.runtime_thread import RuntimeThread
from gritlite.runtime.onnx.session import Floats, LayerStates, Memory, States
from gritlite.system.watch import Flag

try:
    from gritlite.runtime.onnx.onnxruntime_package import onnxruntime
except ModuleNotFoundError as error:
    raise MissingExtraError("onnxruntime", "onnx", "the engine onnx") from error

T = TypeVar("T")

GRAPHS: Mapping[Attention, str] = {"bidirectional": "embed.onnx", "causal": "prefill.onnx"}
_USUAL_TOKENS = 1024  # of a pass; the memory of a larger one is given back behind it
# attention computes the products of each token with all up to the end of its part, so that
# small parts are faster, down to where matrices are no longer used well
_PART_TOKENS = 256
_ADVICE = ": leave the layers on the processor (gpu_layers 0), or take a smaller model"
_GPU_PART_TOKENS = 4096  # all keys and values, earlier ones too, are copied behind each part
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

    With `on_gpu` they are graphs of the form float16, as written; that for embedding is then
    loaded at once, so that a GPU that cannot be used, or is too small, is known. Raises
    DeviceError, OutOfMemoryError and LibraryError.
    """

    part_tokens = _PART_TOKENS
    state_type: type[np.floating[Any]] = np.float32

    def __init__(
        self, folder: Path, network: Network, *, threads: int, on_gpu: bool = False
    ) -> None:
        self._folder, self._network, self._threads = folder, network, threads
        self.on_device = on_gpu
        self._device = device.GPU if on_gpu else device.PROCESSOR
        if on_gpu:
            self.part_tokens, self.state_type = _GPU_PART_TOKENS, np.float16
        self._sessions: dict[Attention, onnxruntime.InferenceSession] = {}
        name, advice = ("ONNX Runtime on the GPU", _ADVICE) if on_gpu else ("ONNX Runtime", "")
        self._thread = RuntimeThread(name, Exception, advice)  # its errors share no other base
        if on_gpu:
            device.check_gpu()
            self._thread.call(lambda: self._session("bidirectional"))

    def run(
        self,
        embeddings: Floats,
        lengths: NDArray[np.int32],
        attention: Attention,
        *,
        past: Sequence[LayerStates] = (),
        return_states: bool = False,
        cancel: Flag | None = None,
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
        nothing = np.empty((batch, network.kv_heads, 0, network.head_width), self.state_type)
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
            arena = self._device.arena
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", arena)

        def run(session: onnxruntime.InferenceSession) -> list[Any]:
            binding = session.io_binding()
            for name, array in inputs.items():
                binding.bind_cpu_input(name, array)  # which copies it to where it is read
            for name in names:
                binding.bind_output(name)
            session.run_with_iobinding(binding, options)
            outputs: list[Any] = binding.copy_outputs_to_cpu()
            return outputs

        hidden, *states = self._evaluate(attention, run, options, cancel)
        new = [array[:, :, earlier:] for array in states]
        return hidden, [LayerStates(*pair) for pair in zip(new[::2], new[1::2], strict=True)]

    def extend(self, embeddings: Floats, memory: Memory, cancel: Flag | None = None) -> None:
        """See Session. Attention reads and writes the memory that is bound itself."""
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True  # the last layer ends at its states
        first, last = memory.tokens, memory.tokens + embeddings.shape[1]

        def run(session: onnxruntime.InferenceSession) -> None:
            if memory.held is None:
                memory.held = [_held(each, self._device) for each in _states(memory)]
            session.run_with_iobinding(_bound(session, embeddings, memory), options)
            for states, held in zip(_states(memory), memory.held, strict=True):
                if held.data_ptr() != states.ctypes.data:
                    states[:, :, first:last] = held.numpy()[:, :, first:last]

        self._evaluate("causal", run, options, cancel)
        memory.tokens = last

    def _evaluate(
        self,
        attention: Attention,
        run: Callable[[onnxruntime.InferenceSession], T],
        options: onnxruntime.RunOptions,
        cancel: Flag | None,
    ) -> T:
        def stop() -> None:
            options.terminate = True

        return self._thread.call(lambda: run(self._session(attention)), stop, cancel)

    def _session(self, attention: Attention) -> onnxruntime.InferenceSession:
        if attention not in self._sessions:
            path = self._folder / GRAPHS[attention]
            options = session_options(self._threads)
            if self.on_device:
                options.graph_optimization_level = _ALL_OPTIMIZATION
            provider = self._device.provider  # the processor's does what it cannot
            session = onnxruntime.InferenceSession(path, options, providers=[provider])
            if session.get_providers()[0] != provider:  # ONNX Runtime says so only in its log
                raise device.unusable_gpu("it fell back to the processor")
            self._sessions[attention] = session
            _loaded.add(session)
        return self._sessions[attention]

    def close(self) -> None:
        """See Session."""
        self._thread.close()
        self._sessions.clear()


def _states(memory: Memory) -> list[States]:
    return [each for layer in memory.layers for each in (layer.keys, layer.values)]


def _held(states: States, where: Device) -> onnxruntime.OrtValue:
    """Return a copy of an array in the memory of a device; the array itself is the processor's."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(states, where.memory, 0)


def _bound(
    session: onnxruntime.InferenceSession, embeddings: Floats, memory: Memory
) -> onnxruntime.IOBinding:
    """Return the inputs and outputs of `extend`: earlier and new states are the same arrays."""
    total = memory.tokens + embeddings.shape[1]
    binding = session.io_binding()
    binding.bind_cpu_input("embeddings", embeddings)
    binding.bind_cpu_input("last_positions", np.array([total - 1], np.int32))
    binding.bind_cpu_input("total_tokens", np.array(total, np.int32))
    for number in range(len(memory.layers)):
        for part, held in zip(("key", "value"), memory.held[2 * number :], strict=False):
            binding.bind_ortvalue_input(f"past.{number}.{part}", held)
            binding.bind_ortvalue_output(f"present.{number}.{part}", held)
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
