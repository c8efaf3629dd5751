"""A graph loaded by OpenVINO.

One compiled model serves both directions of attention, with and without earlier keys and
values: the mask says who attends to whom. The module does not know files' formats or tokens.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import FileError, MissingExtraError
from gritlite.graph.network import Network
from gritlite.graph.rotary import halves
from gritlite.graph.rounding import BLOCK
from gritlite.prompt import Attention
from gritlite.runtime.onnx.forms import Numbers
from gritlite.runtime.onnx.runtime_thread import RuntimeThread, translated
from gritlite.runtime.onnx.session import Floats, LayerStates, Memory
from gritlite.system.watch import Flag

try:
    from gritlite.graph.openvino_package import new_core, ov
except ModuleNotFoundError as error:
    raise MissingExtraError("openvino", "openvino", "the engine openvino") from error

GRAPH = "graph.blob"
_RUNTIME = ("OpenVINO", RuntimeError)  # its name, and what it raises
_PART_TOKENS = 512  # earlier keys and values are copied for each part
_UNSEEN = np.float32(-1e30)  # added to the score of a token that is not attended to


class OpenVinoSession:
    """Runs the graph in a folder, of the form `numbers`. Not thread-safe.

    Raises FileError, LibraryError if OpenVINO cannot load the graph, and OutOfMemoryError.
    """

    part_tokens = _PART_TOKENS
    state_type = np.float32
    on_device = False

    def __init__(self, folder: Path, network: Network, numbers: Numbers, *, threads: int) -> None:
        self._network = network
        self._cosines, self._sines = (
            np.concatenate([table, table], axis=1)[None, None] for table in network.rotary.tables()
        )
        self._weights = _mapped(folder / GRAPH)  # OpenVINO keeps no reference to what it uses
        self._options = _options(numbers, threads)
        self._thread = RuntimeThread(*_RUNTIME)
        self._request: ov.InferRequest | None = None
        try:
            self._load()
        except BaseException:
            self._thread.close()
            raise

    def _load(self) -> ov.InferRequest:
        """Return the loaded graph. A pass that failed or was cancelled leaves it broken."""
        if self._request is None:
            self._request = self._thread.call(
                lambda: (
                    new_core()
                    .import_model(self._weights, "CPU", self._options)
                    .create_infer_request()
                )
            )
        return self._request

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
        request = self._load()
        batch, tokens, _ = embeddings.shape
        earlier = past[0].keys.shape[2] if past else 0
        places = slice(earlier, earlier + tokens)
        inputs: dict[str, Floats | ov.Tensor] = {
            "embeddings": embeddings,
            "cosines": self._cosines[:, :, places],
            "sines": self._sines[:, :, places],
            "mask": self._causal(tokens, earlier)
            if attention == "causal"
            else _padding(lengths, tokens),
            **self._past(past, batch),
        }

        def evaluate() -> tuple[Floats, list[LayerStates]]:
            outputs = request.infer(inputs, share_inputs=True, share_outputs=True)
            return outputs["hidden"].copy(), self._states(outputs) if return_states else []

        def stop() -> None:
            self._request = None
            request.cancel()

        try:
            return self._thread.call(evaluate, stop, cancel)
        except BaseException:
            self._request = None
            raise

    def extend(self, embeddings: Floats, memory: Memory, cancel: Flag | None = None) -> None:
        """See Session."""
        first, tokens = memory.tokens, embeddings.shape[1]
        _, states = self.run(
            embeddings,
            np.array([tokens], np.int32),
            "causal",
            past=memory.between(0, first) if first else (),
            return_states=True,
            cancel=cancel,
        )
        for room, new in zip(memory.between(first, first + tokens), states, strict=True):
            room.keys[:], room.values[:] = new.keys, new.values
        memory.tokens += tokens

    def _past(self, past: Sequence[LayerStates], batch: int) -> dict[str, Floats | ov.Tensor]:
        network = self._network
        layers = range(network.layers)
        if not past:
            # an empty array would leave an earlier pass's batch in place
            nothing = ov.Tensor(ov.Type.f32, [batch, network.kv_heads, 0, network.head_width])
            return {f"past.{n}.{part}": nothing for n in layers for part in ("key", "value")}
        found: dict[str, Floats | ov.Tensor] = {}
        for number, layer in enumerate(past):
            keys = layer.keys
            if network.rotary.is_interleaved:
                keys = keys[..., halves(network.head_width)]
            found[f"past.{number}.key"] = np.ascontiguousarray(keys)
            found[f"past.{number}.value"] = np.ascontiguousarray(layer.values)
        return found

    def _states(self, outputs: Mapping[str, Floats]) -> list[LayerStates]:
        network = self._network
        found = []
        for number in range(network.layers):
            keys, values = (outputs[f"new.{number}.{part}"].copy() for part in ("key", "value"))
            if network.rotary.is_interleaved:
                keys[..., halves(network.head_width)] = keys.copy()
            found.append(LayerStates(keys, values))
        return found

    def _causal(self, tokens: int, earlier: int) -> Floats:
        """Return the mask of tokens that see those before them, [1, 1, group * tokens, all]."""
        mask = np.triu(np.full((tokens, earlier + tokens), _UNSEEN), earlier + 1)
        return np.tile(mask, (self._network.heads // self._network.kv_heads, 1))[None, None]

    def close(self) -> None:
        """See Session."""
        self._request = None
        self._thread.close()


def _padding(lengths: NDArray[np.int32], tokens: int) -> Floats:
    """Return the mask of sequences whose tokens all see each other, [batch, 1, 1, tokens]."""
    mask = np.zeros((len(lengths), 1, 1, tokens), np.float32)
    mask[:, 0, 0][np.arange(tokens) >= lengths[:, None]] = _UNSEEN
    return mask


def compile_graph(path: Path, numbers: Numbers, *, threads: int) -> ov.CompiledModel:
    """Compile a graph. Raises OutOfMemoryError and LibraryError."""
    with translated(*_RUNTIME):
        return new_core().compile_model(path, "CPU", _options(numbers, threads))


def _mapped(path: Path) -> ov.Tensor:
    try:
        return ov.Tensor(np.memmap(path, np.uint8, "c"), shared_memory=True)
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise FileError(f"cannot read {path}: {error}") from error


def _options(numbers: Numbers, threads: int) -> dict[str, object]:
    """Return OpenVINO's properties (its documentation: CPU Device, Supported Properties)."""
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if numbers == "bfloat16" else "f32",
        # the inputs of blocks are rounded in blocks too, as llama.cpp does
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": BLOCK,
        # all sessions would be pinned to the same cores
        "ENABLE_CPU_PINNING": False,
    }
