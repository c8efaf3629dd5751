"""Prepares the graph of a GGUF file for a runtime, once, and keeps it in the cache.

The module does not know how a runtime's files look.
"""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from gritlite.errors import CancelledError, FileError
from gritlite.graph.network import Network, read_network
from gritlite.graph.smoothing import Factors, SmoothedTensors
from gritlite.graph.tensors import Floats, Tensors, open_tensors
from gritlite.modelfile.header import GGUFFile
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import graph_cache, packages
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.graph_cache import FACTORS, GraphFolder
from gritlite.system import cache
from gritlite.system.machine import check_free_memory
from gritlite.system.progress import ProgressCallback, no_progress

# bytes of a weight in each form, a scale's share included
_WEIGHT_BYTES = {"int8": 1.1, "blocks": 1.125, "float16": 2.0, "bfloat16": 2.0, "float32": 4.0}
_COPIES = 3.4  # on the disk while the graph is written: as written, optimized, and packed
_PACKED = 1.3  # in memory while the runtime packs weights, to those written


def prepare(
    file: GGUFFile,
    form: Form,
    *,
    threads: int,
    maxima: Mapping[str, Floats] | None = None,
    progress: ProgressCallback = no_progress,
    cancel: threading.Event | None = None,
) -> GraphFolder:
    """Write the graph of a file into the cache; return the one that is there if it fits.

    With `maxima` (see `measure_inputs`) the inputs of matrices are smoothed, which only int8
    gains from. `threads` pack the weights; `cancel` ends the work.

    Raises CancelledError, MissingExtraError, ArchitectureError for layers that no graph is
    written for, FileError for a file that changes meanwhile or a full disk,
    OutOfMemoryError, and LibraryError if the runtime fails.
    """

    def check() -> None:
        if cancel is not None and cancel.is_set():
            raise CancelledError("preparing the graph was cancelled")

    packages.version(form.runtime)
    identity = ModelIdentity(file)
    fingerprint = identity.fingerprint()
    with graph_cache.writing(fingerprint, form, waiting=check):
        found = graph_cache.find(fingerprint, form)
        if found is not None:  # another process has just written it
            return found
        with open_tensors(file) as tensors, graph_cache.new_folder(fingerprint, form) as folder:
            network = read_network(tensors)
            _check_room(file, form)
            steps = _Steps(network.layers, progress, check)
            source = tensors
            if maxima is not None:
                source = SmoothedTensors(tensors, network, maxima)
                _keep_value_factors(folder, network, source.factors)
            with _write_errors(file, folder):
                _write_files(folder, network, source, form, threads, steps.written, cancel)
                steps.packed()
                identity.check_unchanged()
                graph_cache.complete(folder, file.path, fingerprint, form)
            check()
            steps.finished()
    prepared = graph_cache.find(fingerprint, form)
    if prepared is None:
        raise FileError(f"the graph of {file.path} was removed as soon as it was written")
    graph_cache.remove_superseded(prepared)
    return prepared


def _write_files(
    folder: Path,
    network: Network,
    tensors: Tensors,
    form: Form,
    threads: int,
    written: Callable[[int], None],
    cancel: threading.Event | None,
) -> None:
    """Write the files that the form's runtime reads."""
    if form.runtime == "onnx":
        packages.load("onnx", "onnx")
        from gritlite.runtime.onnx import onnx_files

        onnx_files.write_files(
            folder,
            network,
            tensors,
            form.numbers,  # type: ignore[arg-type] # Form knows no others for ONNX Runtime
            threads=threads,
            written=written,
            cancel=cancel,
        )
        return
    from gritlite.runtime.onnx import openvino_files

    openvino_files.write_files(
        folder,
        network,
        tensors,
        form.numbers,  # type: ignore[arg-type] # Form knows no others for OpenVINO
        threads=threads,
        written=written,
    )


class _Steps:
    """Reports progress in layers, and checks whether to go on."""

    def __init__(self, layers: int, progress: ProgressCallback, check: Callable[[], None]) -> None:
        self._layers, self._progress, self._check = layers, progress, check

    def written(self, layers: int) -> None:
        self._report(2 * layers)

    def packed(self) -> None:
        self._report(3 * self._layers)

    def finished(self) -> None:
        self._report(4 * self._layers)

    def _report(self, done: int) -> None:
        self._check()
        self._progress(done, 4 * self._layers)


def _keep_value_factors(folder: Path, network: Network, factors: Factors) -> None:
    """Write what undoes the smoothing of each layer's values."""
    ones: Floats = np.ones(network.kv_width, np.float32)
    rows = [factors.get(f"blk.{layer}.attn_v", ones) for layer in range(network.layers)]
    shape = (network.layers, network.kv_heads, network.head_width)
    np.save(folder / FACTORS, np.stack(rows).reshape(shape))


def weight_bytes(file: GGUFFile, form: Form) -> int:
    """Return the bytes of a graph's weights, mapped from the cache or on the GPU."""
    weights = sum(each.elements for each in file.tensors if each.name.startswith("blk."))
    return int(weights * _WEIGHT_BYTES[form.numbers])


def _check_room(file: GGUFFile, form: Form) -> None:
    """Raise FileError or OutOfMemoryError if the graph would not fit."""
    written = weight_bytes(file, form)
    need = written if form.on_gpu else int(written * _COPIES)
    folder = cache.folder(graph_cache.FOLDER)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise FileError(
            f"the graph of {file.path} needs {need >> 20:,} MiB of disk space while it is written, "
            f"but {folder} has {free >> 20:,} MiB: free some, or set {cache.VARIABLE} to a folder "
            "on another disk"
        )
    if form.on_gpu:
        return  # nothing is packed
    need = int(written * _PACKED)
    check_free_memory(need, f"writing the graph of {file.path}", "use the engine llama")


@contextlib.contextmanager
def _write_errors(file: GGUFFile, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(
            f"cannot write the graph of {file.path} in {folder.parent.parent}: "
            f"{error.strerror or error}"
        ) from error
