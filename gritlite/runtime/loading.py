"""Loads what a model generates with: llama.cpp's weights, and a generator over them."""

import threading

from gritlite.errors import UsageError
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.memory import generate_memory, kv_bytes_per_token
from gritlite.prompt import can_generate, end_tokens, sliding_window
from gritlite.runtime import model_probe, probe
from gritlite.runtime.engine import PrefillEngine
from gritlite.runtime.generator import Generator
from gritlite.runtime.llama import PARALLEL, GpuLayers, LlamaEngine
from gritlite.runtime.on_demand import OnDemand
from gritlite.runtime.scheduler import Scheduler
from gritlite.system.watch import Watch

# llama.cpp keeps counts of tokens in 32 bits and rounds them up to 256; threads: GGML_MAX_N_THREADS
_LIMITS = {"context_length": 2**31 - 256, "threads": 512, "pass_tokens": 2**31 - 256}


def check_counts(**counts: int | None) -> None:
    """Raise UsageError for an option of `GritLM` that is out of range."""
    for name, value in counts.items():
        if value is not None and not 1 <= value <= _LIMITS[name]:
            raise UsageError(f"{name} is {value}: expected 1 to {_LIMITS[name]}")


def check_parallel(parallel: int) -> None:
    """Raise UsageError for a number of sequences that llama.cpp's engine does not offer."""
    if parallel not in PARALLEL:
        known = ", ".join(map(str, PARALLEL))
        raise UsageError(f"parallel is {parallel}: expected one of {known}")


def check_window(file: GGUFFile, context_length: int | None) -> None:
    """Raise UsageError for a context that is longer than what the model attends to."""
    window = sliding_window(file.metadata)
    if context_length is not None and window is not None and context_length > window:
        raise UsageError(
            f"context_length is {context_length}: expected at most {window}, the window that "
            "this model attends to; beyond it answers would be wrong"
        )


def load_llama(
    file: GGUFFile, threads: int, gpu_layers: GpuLayers, editable: bool, watch: Watch
) -> LlamaEngine:
    """Load a file's weights by llama.cpp. Raises as `GritLM`."""
    repack = probe.ensure_safe(watch.check).repack
    model_probe.ensure_runs(file, gpu_layers=gpu_layers, repack=repack, waiting=watch.check)
    return LlamaEngine(
        file.path,
        threads=threads,
        gpu_layers=gpu_layers,
        repack=repack,
        editable=editable,
        end_tokens=end_tokens(file.metadata),
        generates=can_generate(file.metadata),
        on_progress=watch.advance,
    )


def make_generator(
    llama: OnDemand[LlamaEngine],
    scheduler: Scheduler,
    file: GGUFFile,
    conversation_bytes: int,
    parallel: int,
    prefill_engine: PrefillEngine | None,
    context_length: int,
    closing: threading.Event,
    watch: Watch,
) -> Generator:
    """Return what generates with llama.cpp's weights; the arguments are those of `Generator`.

    Raises as `load_llama`.
    """
    engine = llama.get(watch)
    memory = generate_memory(file, context_length, parallel=parallel)
    return Generator(
        engine,
        scheduler,
        context_length=context_length,
        conversation_bytes=conversation_bytes,
        token_bytes=kv_bytes_per_token(file),
        context_bytes=memory.on_host(on_device=engine.on_device),
        parallel=parallel,
        prefill_engine=prefill_engine,
        closing=closing,
    )
