"""`GritLM`: one loaded file that embeds and generates.

An embedding pass and a decoder of llama.cpp share one copy of the weights (see
docs/switching.md), so embedding during a chat does not affect the chat's state. Where a graph
embeds (see docs/embedding.md), llama.cpp's weights are loaded when they are first needed.
"""

import threading
from functools import partial
from pathlib import Path
from typing import Self
from uuid import uuid4

from gritlite.errors import UsageError
from gritlite.modelfile.check import check_model
from gritlite.modelfile.description import file_type_name
from gritlite.modelfile.header import read_header
from gritlite.modelfile.memory import PASS_TOKENS
from gritlite.prompt import EmbedFormat, is_trained_to_embed
from gritlite.runtime.engine import PrefillEngine
from gritlite.runtime.engine_choice import (
    EngineOptions,
    Engines,
    OpenedGraph,
    Precision,
    open_graph,
)
from gritlite.runtime.generating_model import GeneratingModel
from gritlite.runtime.llama import GpuLayers, LlamaEngine
from gritlite.runtime.loading import (
    check_counts,
    check_parallel,
    check_window,
    load_llama,
    make_generator,
)
from gritlite.runtime.on_demand import Closable, OnDemand
from gritlite.runtime.scheduler import Scheduler
from gritlite.system.locate import locate
from gritlite.system.progress import ProgressCallback, no_progress
from gritlite.system.threads import default_threads
from gritlite.system.watch import Watch

CONVERSATION_BYTES = 256 << 20


class GritLM(GeneratingModel):
    """A model file that embeds and generates. Thread-safe.

    Close it, use it as a context manager, or drop it. A forked process cannot use it.

    `model` is the path of a GGUF file or the name of a pulled model.
    `context_length` is the maximum number of tokens in a chat (default: the
    model's, at most 4,096). `threads` defaults to the physical cores.
    `gpu_layers` is a number, "all" or "auto"; a graph is on a GPU whole or not at all (in
    onnxruntime-gpu; docs/gpu.md). `pass_tokens` is the size of a
    packed embedding pass. `conversation_bytes` is the memory budget for the states of
    interrupted conversations and of their documents, so that chats that take turns are not
    evaluated again (default 256 MiB; 0 saves none). `parallel`, one of 1, 2, 4, 8 and 16, is
    the number of answers that are decoded together; each needs a context's memory. An
    `editable` model has a private copy of its weights, for
    `gritlite.runtime.instruments.WeightEditor`.

    `engine` says what embeds. "llama" is llama.cpp. "onnx" and "openvino" run a graph of the
    file, an extra each; they prepare it when the file is first used so. "auto" is what the
    environment variable GRITLITE_ENGINE says, otherwise a graph that was prepared before
    (see `prepare_engine`) and passed its check here, or llama.cpp. `precision` is that of the
    graph: "exact" computes with the file's numbers, "fast" with rounded ones; None means
    "fast" if it has passed its check. llama.cpp generates, whatever embeds; with a graph its
    weights are loaded when they are first needed, and an exact graph reads long prompts if it
    was found to be faster here; with `parallel` above 1 only if it is asked for by name.

    `progress` is called with thousandths of the load that are done, and 1,000; `cancel` ends
    it. Both count until the model is loaded (see `load` for what is loaded later). The callback
    runs in the thread that called, at most twenty times a second; an exception that it raises
    ends the load and is raised here.

    Raises CancelledError, FileError, FormatError, ArchitectureError or TokenizerError for a file
    that cannot be used, DeviceError for GPU layers without a GPU, LibraryError
    when llama.cpp cannot run on this processor, MissingExtraError for an engine that is not
    installed, and OutOfMemoryError; those of llama.cpp's weights when they are loaded.
    """

    def __init__(
        self,
        model: str | Path = "default",
        *,
        context_length: int | None = None,
        threads: int | None = None,
        gpu_layers: GpuLayers = "auto",
        pass_tokens: int = PASS_TOKENS,
        conversation_bytes: int = CONVERSATION_BYTES,
        parallel: int = 1,
        editable: bool = False,
        engine: Engines = "auto",
        precision: Precision | None = None,
        progress: ProgressCallback = no_progress,
        cancel: threading.Event | None = None,
    ) -> None:
        check_counts(context_length=context_length, threads=threads, pass_tokens=pass_tokens)
        check_parallel(parallel)
        if conversation_bytes < 0:
            raise UsageError(f"conversation_bytes is {conversation_bytes}: expected 0 or more")
        watch = Watch("loading the model", progress, cancel)
        watch.advance(0)
        file = read_header(locate(str(model)))
        check_model(file)
        check_window(file, context_length)
        self.threads = threads or default_threads()
        options = EngineOptions(engine, precision, self.threads, gpu_layers)
        if editable and options.runtime is not None:
            raise UsageError(f"weights are edited in llama.cpp: use the engine llama, not {engine}")
        self._llama = OnDemand(partial(load_llama, file, self.threads, gpu_layers, editable))
        self._graph = None if editable else open_graph(file, options, watch)
        embeds = self._llama.get(watch) if self._graph is None else self._graph.engine
        scheduler = Scheduler()
        super().__init__(
            embeds,
            file,
            EmbedFormat.from_metadata(file.metadata),
            scheduler,
            # without a reference to this object, which is freed as soon as it is dropped
            partial(
                make_generator,
                self._llama,
                scheduler,
                file,
                conversation_bytes,
                parallel,
                _prefill_engine(self._graph, options, parallel),
            ),
            pass_tokens=pass_tokens,
            context_length=context_length,
        )
        self._attached: set[Closable] = set()
        try:
            watch.finish()
        except BaseException:
            self.close()
            raise

    def load(
        self, *, progress: ProgressCallback = no_progress, cancel: threading.Event | None = None
    ) -> None:
        """Load what is otherwise loaded when it is first needed to generate.

        That is llama.cpp's weights where a graph embeds, and little where llama.cpp does. The
        arguments and errors are those of `GritLM`.
        """
        self.check_generates()
        watch = Watch("loading the model", progress, cancel)
        watch.advance(0)
        self._generators.get(watch)
        watch.finish()

    def __repr__(self) -> str:
        """Say what the model is: its file, architecture, size and type, and what embeds."""
        if self.is_closed:
            return f"<GritLM {self.path.name}: closed>"
        parts = [
            str(self.file.metadata.get("general.architecture")),
            f"{sum(tensor.elements for tensor in self.file.tensors):,} parameters",
            file_type_name(self.file),
            f"embeds with {self.embeds_with}",
            f"context of {self.context_length:,}" if self.generates else "generates nothing",
        ]
        return f"<GritLM {self.path.name}: {', '.join(filter(None, parts))}>"

    @property
    def is_trained_to_embed(self) -> bool:
        """Whether the file says that its model was trained to embed; False if it is not known."""
        return is_trained_to_embed(self.file.metadata)

    @property
    def engine(self) -> LlamaEngine:
        """llama.cpp's engine; its weights are loaded if they are not. Raises as `GritLM`."""
        if self._llama.made is None:
            self._check_open()
        return self._llama.get()

    @property
    def embeds_with(self) -> str:
        """What embeds: "llama", or the form of a graph, such as "onnx-int8"."""
        return self._graph.form.name if self._graph else "llama"

    @property
    def graph_bytes(self) -> int:
        """The bytes of the graph that embeds, a second copy of weights if both tasks are used."""
        return self._graph.bytes if self._graph else 0

    def weights_changed(self) -> None:
        """Clear the cache and change the fingerprint, as earlier states are no longer valid."""
        self.edits += 1
        self._edited = f"edited {uuid4().hex}"
        self.clear_cache()

    def attach(self, instrument: Closable) -> None:
        """Close `instrument` when the model is closed, unless it is detached before."""
        self._check_open()
        self._attached.add(instrument)

    def detach(self, instrument: Closable) -> None:
        """Undo `attach`."""
        self._attached.discard(instrument)

    def close(self) -> None:
        """Free all memory, weights included; end loads, passes and prompts in progress.

        Calls in other threads end with ClosedError.
        """
        if self.scheduler.is_forked:  # the memory belongs to the process that loaded the model
            return
        super().close()
        self._generators.close()
        for instrument in tuple(self._attached):
            instrument.close()
        self._llama.close()
        if self._graph is not None:
            self._graph.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _prefill_engine(
    graph: OpenedGraph | None, options: EngineOptions, parallel: int
) -> PrefillEngine | None:
    """Return the graph if it reads long prompts in place of llama.cpp.

    Prompts share their beginnings, and what a graph read differs by rounding: answers that are
    decoded together would depend on each other. So there it has to be asked for by name.
    """
    if graph is None or not graph.reads_prompts:
        return None
    return graph.engine if parallel == 1 or options.runtime is not None else None
