"""Which engine embeds with a model file: llama.cpp, or a graph in ONNX Runtime or OpenVINO.

`runtime.onnx` is imported only if a graph may be used. The module does not measure engines
(see `runtime.onnx.choice`).
"""

import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from gritlite.errors import CancelledError, EngineWarning, GritLiteError, LibraryError, UsageError
from gritlite.modelfile.check import check_model
from gritlite.modelfile.header import GGUFFile, read_header
from gritlite.modelfile.unchecked import unchecked_parts
from gritlite.runtime import model_probe, probe
from gritlite.runtime.llama import GpuLayers
from gritlite.runtime.model_identity import ModelIdentity
from gritlite.system.locate import locate
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.threads import default_threads
from gritlite.system.watch import Watch

if TYPE_CHECKING:
    from gritlite.runtime.onnx.engine import GraphEngine
    from gritlite.runtime.onnx.forms import Form, Runtime
    from gritlite.runtime.onnx.graph_cache import GraphFolder

Engines = Literal["auto", "llama", "onnx", "openvino"]
Precision = Literal["exact", "fast"]
VARIABLE = "GRITLITE_ENGINE"  # of the environment: what "auto" means


@dataclass(frozen=True)
class EngineOptions:
    """Which engine embeds, and how llama.cpp runs, which it is compared with.

    Raises UsageError for names that do not exist.
    """

    engine: Engines
    precision: Precision | None
    threads: int
    gpu_layers: GpuLayers

    def __post_init__(self) -> None:
        if self.precision not in (None, *get_args(Precision)):
            raise UsageError(f"precision is {self.precision!r}: expected 'exact', 'fast' or None")
        _check(self.engine, "engine")
        _check(self.wanted, VARIABLE)

    @property
    def wanted(self) -> Engines:
        """The engine; instead of "auto" what the environment says that it means."""
        if self.engine != "auto":
            return self.engine
        return os.environ.get(VARIABLE) or "auto"  # type: ignore[return-value] # checked

    @property
    def runtime(self) -> "Runtime | None":
        """The runtime that was asked for by name, if one was."""
        wanted = self.wanted
        return wanted if wanted == "onnx" or wanted == "openvino" else None


def _check(name: str, what: str) -> None:
    if name not in get_args(Engines):
        names = ", ".join(get_args(Engines))
        raise UsageError(f"{what} is {name!r}: expected one of {names}")


@dataclass(frozen=True)
class OpenedGraph:
    """A graph that embeds: its engine, its form, and the bytes of its files.

    `reads_prompts` says whether it also reads long prompts, which llama.cpp goes on from:
    rounded numbers would change answers, and on some machines llama.cpp is as fast.
    """

    engine: "GraphEngine"
    form: "Form"
    bytes: int
    reads_prompts: bool


def open_graph(file: GGUFFile, options: EngineOptions, watch: Watch) -> OpenedGraph | None:
    """Open the graph that embeds with a file; None if llama.cpp does.

    "auto" uses a graph that was prepared and passed its check, and makes none. A runtime
    given by name prepares the graph if it is missing, and warns (EngineWarning) of a check that
    it failed. `watch` is told how far preparing is. Raises then MissingExtraError,
    ArchitectureError for layers that no graph is written for, DeviceError for a GPU that the
    runtime cannot use, FileError, OutOfMemoryError and LibraryError, and in any case what
    `watch` raises.
    """
    if options.wanted == "llama":
        return None
    if options.wanted != "auto":
        return _opened_by_name(file, options, watch)
    try:
        graph = _known(file, options)
        return None if graph is None else _opened(graph, file, options, watch)
    except CancelledError:
        raise
    except GritLiteError as error:
        warnings.warn(
            f"{file.path} is embedded by llama.cpp, as its graph cannot be used: {error}",
            EngineWarning,
            stacklevel=4,
        )
        return None


def prepare_engine(
    model: str | Path = "default",
    *,
    engine: Engines = "auto",
    precision: Precision | None = None,
    threads: int | None = None,
    gpu_layers: GpuLayers = "auto",
    progress: ProgressCallback = no_progress,
    cancel: threading.Event | None = None,
) -> str:
    """Prepare what embeds with a model, and return it: "llama", or the form of a graph.

    The arguments are those of `GritLM`. With "auto" the engines that are installed are compared
    with llama.cpp, and the fastest that passed its check will embed. The first time this takes
    a minute for a model of 135M parameters on two cores, and longer for larger ones; what
    was found, and the graph, stay in the cache. `progress` counts thousandths.

    Raises CancelledError, the errors of `GritLM` about files, and with the name of a runtime
    MissingExtraError, ArchitectureError, DeviceError, OutOfMemoryError and LibraryError.
    """
    options = EngineOptions(engine, precision, threads or default_threads(), gpu_layers)
    if options.wanted == "llama":
        return "llama"
    file = read_header(locate(str(model)))
    check_model(file)
    graph = _prepared(file, options, progress, cancel)
    return "llama" if graph is None else graph.form.name


def compare_engines(
    model: str | Path = "default",
    *,
    threads: int | None = None,
    gpu_layers: GpuLayers = "auto",
    progress: ProgressCallback = no_progress,
    cancel: threading.Event | None = None,
) -> None:
    """Compare all engines that are installed with llama.cpp, in place of what was found before.

    The arguments are those of `prepare_engine`. What was found is kept, and decides what "auto"
    embeds with.

    Raises MissingExtraError if no other engine is installed, ArchitectureError for layers that
    no graph is written for, and else as `prepare_engine` with the name of a runtime.
    """
    from gritlite.graph.network import network_of
    from gritlite.runtime.onnx import choice, packages, verdict
    from gritlite.runtime.onnx.forms import NUMBERS

    file = read_header(locate(str(model)))
    check_model(file)
    if not any(map(packages.installed_version, NUMBERS)):
        raise packages.missing("onnx")
    network_of(file)
    setting = verdict.Setting(threads or default_threads(), gpu_layers)
    verdict.forget(ModelIdentity(file).fingerprint(), setting)
    found = choice.choose(file, setting, progress=progress, cancel=cancel)
    if found.note:
        warnings.warn(found.note, EngineWarning, stacklevel=2)


def most_bytes(
    model: str | Path, engine: Engines, precision: Precision | None, gpu_layers: GpuLayers
) -> int:
    """Return the most bytes that `prepare_engine` keeps on the disk. Raises as it does."""
    from gritlite.runtime.onnx.choice import candidates
    from gritlite.runtime.onnx.preparation import weight_bytes
    from gritlite.runtime.onnx.verdict import is_wanted

    runtime = EngineOptions(engine, precision, 1, gpu_layers).runtime
    file = read_header(locate(str(model)))
    forms = (form for form in candidates(file, gpu_layers) if is_wanted(form, precision, runtime))
    return max(weight_bytes(file, form) for form in forms)


def _prepared(
    file: GGUFFile,
    options: EngineOptions,
    progress: ProgressCallback,
    cancel: threading.Event | None,
) -> "GraphFolder | None":
    from gritlite.runtime.onnx import choice, graph_cache
    from gritlite.runtime.onnx.verdict import Setting
    from gritlite.runtime.onnx.workbench import FileWorkbench

    found = choice.choose(
        file,
        Setting(options.threads, options.gpu_layers),
        precision=options.precision,
        runtime=options.runtime,
        progress=progress,
        cancel=cancel,
    )
    if found.note:
        warnings.warn(found.note, EngineWarning, stacklevel=5)
    if found.form is None:
        return None
    # only if it was removed after its check
    FileWorkbench(file, options.threads, options.gpu_layers, cancel).prepare(found.form, progress)
    return graph_cache.find(ModelIdentity(file).fingerprint(), found.form)


def _known(file: GGUFFile, options: EngineOptions) -> "GraphFolder | None":
    from gritlite.runtime.onnx import choice, graph_cache
    from gritlite.runtime.onnx.verdict import Setting

    fingerprint = ModelIdentity(file).known()
    setting = Setting(options.threads, options.gpu_layers)
    found = choice.known_choice(file, setting, precision=options.precision)
    if fingerprint is None or found.form is None:
        return None
    return graph_cache.find(fingerprint, found.form)


def _opened_by_name(file: GGUFFile, options: EngineOptions, watch: Watch) -> OpenedGraph | None:
    graph = _prepared(file, options, watch.report, watch.cancel)
    if graph is None:
        return None
    try:
        return _opened(graph, file, options, watch)
    except LibraryError:  # it was packed for a processor that this one differs from
        graph = _prepared(file, options, watch.report, watch.cancel)
        return None if graph is None else _opened(graph, file, options, watch)


def _opened(
    graph: "GraphFolder", file: GGUFFile, options: EngineOptions, watch: Watch
) -> OpenedGraph:
    from gritlite.runtime.onnx import graph_cache
    from gritlite.runtime.onnx.opening import open_graph

    if unchecked_parts(file):  # its vocabulary might end the process
        repack = probe.ensure_safe(watch.check).repack
        model_probe.ensure_runs(
            file, gpu_layers=options.gpu_layers, repack=repack, waiting=watch.check
        )
    try:
        engine = open_graph(graph, file, threads=options.threads)
    except LibraryError:
        graph_cache.remove(graph)  # the runtime refuses it, so it is made again
        raise
    return OpenedGraph(engine, graph.form, graph.bytes, _reads_prompts(graph, options))


def _reads_prompts(graph: "GraphFolder", options: EngineOptions) -> bool:
    from gritlite.runtime.onnx import verdict

    setting = verdict.Setting(options.threads, options.gpu_layers)
    return verdict.reads_prompts(graph.fingerprint, setting, graph.form)
