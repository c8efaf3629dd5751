"""What the check of a model's forms works with: llama.cpp's engine, and graphs made for it.

The module does not know what is compared.
"""

import threading
import time
from typing import Protocol

from gritlite.modelfile.header import GGUFFile
from gritlite.prompt import can_generate
from gritlite.runtime import model_probe, probe
from gritlite.runtime.engine import EmbeddingEngine
from gritlite.runtime.llama import GpuLayers, LlamaEngine
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.runtime.onnx import graph_cache
from gritlite.runtime.onnx.forms import Form
from gritlite.runtime.onnx.graph_cache import GraphFolder
from gritlite.runtime.onnx.input_maxima import measure_inputs
from gritlite.runtime.onnx.opening import open_graph
from gritlite.runtime.onnx.preparation import prepare
from gritlite.system.progress import ProgressCallback


class Workbench(Protocol):
    """Opens the engines of one file."""

    def clock(self) -> float:
        """Return the seconds since some moment, for measuring."""

    def open_llama(self) -> EmbeddingEngine:
        """Load the file by llama.cpp."""

    def prepare(self, form: Form, progress: ProgressCallback) -> int:
        """Make sure that the graph of a form is in the cache; return its bytes on the disk."""

    def open_form(self, form: Form) -> EmbeddingEngine:
        """Open a prepared graph."""

    def discard(self, form: Form) -> None:
        """Remove a graph from the cache, unless it was there before."""


class FileWorkbench:
    """A `Workbench` of a model file. Raises what the engines raise; see `prepare`."""

    def __init__(
        self,
        file: GGUFFile,
        threads: int,
        gpu_layers: GpuLayers,
        cancel: threading.Event | None,
    ) -> None:
        self._file, self._threads, self._gpu_layers = file, threads, gpu_layers
        self._cancel = cancel
        self._fingerprint = ModelIdentity(file).fingerprint()
        self._graphs: dict[Form, GraphFolder] = {}
        self._made: set[Form] = set()

    def clock(self) -> float:
        """See Workbench."""
        return time.perf_counter()

    def open_llama(self) -> LlamaEngine:
        """See Workbench."""
        repack = probe.ensure_safe().repack
        model_probe.ensure_runs(self._file, gpu_layers=self._gpu_layers, repack=repack)
        return LlamaEngine(
            self._file.path,
            threads=self._threads,
            gpu_layers=self._gpu_layers,
            repack=repack,
            generates=can_generate(self._file.metadata),
        )

    def prepare(self, form: Form, progress: ProgressCallback) -> int:
        """See Workbench."""
        graph = graph_cache.find(self._fingerprint, form)
        if graph is None:
            graph = self._prepare(form, progress)
            self._made.add(form)
        self._graphs[form] = graph
        return graph.bytes

    def _prepare(self, form: Form, progress: ProgressCallback) -> GraphFolder:
        threads, cancel = self._threads, self._cancel
        if form.is_exact:
            return prepare(self._file, form, threads=threads, progress=progress, cancel=cancel)

        def first_half(done: int, total: int) -> None:
            progress(done, 2 * total)

        def second_half(done: int, total: int) -> None:
            progress(done + total, 2 * total)

        maxima = measure_inputs(self._file, threads=threads, progress=first_half, cancel=cancel)
        return prepare(
            self._file, form, threads=threads, maxima=maxima, progress=second_half, cancel=cancel
        )

    def open_form(self, form: Form) -> EmbeddingEngine:
        """See Workbench."""
        return open_graph(self._graphs[form], self._file, threads=self._threads)

    def discard(self, form: Form) -> None:
        """See Workbench."""
        if form in self._made:
            graph_cache.remove(self._graphs[form])
            self._made.remove(form)
