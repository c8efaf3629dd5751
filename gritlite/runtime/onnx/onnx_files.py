"""The files of an ONNX graph: optimized by ONNX Runtime, with packed weights that are mapped.

    embed.onnx, prefill.onnx   the graph with bidirectional and with causal attention
    weights.bin                the weights of both

ONNX Runtime packs each matrix for its kernels. The file of weights has every matrix twice:
as it is, read when a session starts and let go, and packed, which a session maps instead of
keeping a copy of its own (`session.save_external_prepacked_constant_initializers`, in
onnxruntime_session_options_config_keys.h). Graphs in float16 stay as written: a GPU's session
optimizes them as it loads. The module does not know caches or models.
"""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx

from gritlite.errors import GritLiteError, LibraryError
from gritlite.graph.layers import write_layers
from gritlite.graph.network import Network
from gritlite.graph.onnx_writer import Form, OnnxWriter, direct
from gritlite.graph.rounding import PAIR_LIMIT
from gritlite.graph.tensors import Tensors
from gritlite.runtime.compute_thread import ComputeThread
from gritlite.runtime.onnx.onnx_session import GRAPHS
from gritlite.runtime.onnx.onnxruntime_package import onnxruntime
from gritlite.system import processor

WEIGHTS = "weights.bin"
_RAW, _RAW_WEIGHTS, _OPTIMIZED = "raw.onnx", "raw.bin", "optimized.onnx"
_INLINE = "1024"  # bytes of a tensor that stands in the graph itself
# these add products of 8 bits in 32 bits; without them, x86 adds pairs in 16 bits that saturate
_WIDE_SUMS = {"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"}


def write_files(
    folder: Path,
    network: Network,
    tensors: Tensors,
    numbers: Form,
    *,
    threads: int,
    written: Callable[[int], None],
    cancel: threading.Event | None = None,
) -> None:
    """Write a graph's files into a folder; `written` is called with the layers done.

    Raises CancelledError, LibraryError, OSError, and what `written` raises.
    """
    if numbers == "float16":
        with (folder / WEIGHTS).open("xb") as file:
            writer = OnnxWriter(network, numbers, file, WEIGHTS)
            for layers in write_layers(network, tensors, writer):
                written(layers)
        for attention, name in GRAPHS.items():
            writer.save(folder / name, attention)
        return
    raw, raw_weights = folder / _RAW, folder / _RAW_WEIGHTS
    with raw_weights.open("xb") as file:
        writer = OnnxWriter(network, numbers, file, _RAW_WEIGHTS, pair_limit=pair_limit())
        for layers in write_layers(network, tensors, writer):
            written(layers)
        writer.save(raw, "causal")
    _optimize(raw, folder / _OPTIMIZED, threads, cancel)
    raw.unlink()
    raw_weights.unlink()
    _write_directions(folder)


def pair_limit() -> int | None:
    """Return the limit of `round_channels` with which this processor sums products exactly.

    Inputs are unsigned bytes. Without VNNI, x86 adds the products of neighbours in 16 bits
    (vpmaddubsw).
    """
    if not processor.is_x86() or _WIDE_SUMS.intersection(processor.kernel_flags()):
        return None
    return PAIR_LIMIT


def _optimize(source: Path, target: Path, threads: int, cancel: threading.Event | None) -> None:
    """Let ONNX Runtime fuse operators and pack weights, and save the result."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    options.optimized_model_filepath = str(target)
    prefix = "session.optimized_model_external_initializers_"
    options.add_session_config_entry(f"{prefix}file_name", WEIGHTS)
    options.add_session_config_entry(f"{prefix}min_size_in_bytes", _INLINE)
    options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")

    def stop() -> None:
        options.set_load_cancellation_flag(True)

    providers = ["CPUExecutionProvider"]
    load = partial(onnxruntime.InferenceSession, source, options, providers=providers)
    with ComputeThread("ONNX Runtime") as thread:
        try:
            thread.call(load, stop, cancel)
        except GritLiteError:
            raise
        except Exception as error:  # ONNX Runtime's own errors share no other base
            problem = f"ONNX Runtime cannot load the graph it was given: {error}"
            raise LibraryError(problem) from error


def _write_directions(folder: Path) -> None:
    """Save the optimized graph once for each direction of attention."""
    model = onnx.load(folder / _OPTIMIZED, load_external_data=False)
    for attention, name in GRAPHS.items():
        direct(model.graph.node, attention)
        (folder / name).write_bytes(model.SerializeToString())
    (folder / _OPTIMIZED).unlink()
