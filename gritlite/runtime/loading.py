"""Loads what a model generates with: llama.cpp's weights, and a generator over them."""

from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.memory import generate_memory, kv_bytes_per_token
from gritlite.prompt import can_generate, end_tokens
from gritlite.runtime import model_probe, probe
from gritlite.runtime.engine import PrefillEngine
from gritlite.runtime.generator import Generator
from gritlite.runtime.llama import GpuLayers, LlamaEngine
from gritlite.runtime.on_demand import OnDemand
from gritlite.runtime.scheduler import Scheduler


def load_llama(file: GGUFFile, threads: int, gpu_layers: GpuLayers, editable: bool) -> LlamaEngine:
    """Load a file's weights by llama.cpp. Raises as `GritLM`."""
    repack = probe.ensure_safe().repack
    model_probe.ensure_runs(file, gpu_layers=gpu_layers, repack=repack)
    return LlamaEngine(
        file.path,
        threads=threads,
        gpu_layers=gpu_layers,
        repack=repack,
        editable=editable,
        end_tokens=end_tokens(file.metadata),
        generates=can_generate(file.metadata),
    )


def make_generator(
    llama: OnDemand[LlamaEngine],
    scheduler: Scheduler,
    file: GGUFFile,
    *,
    context_length: int,
    conversation_bytes: int,
    prefill_engine: PrefillEngine | None,
) -> Generator:
    """Return what generates with llama.cpp's weights; the arguments are those of `Generator`.

    Raises as `load_llama`.
    """
    engine = llama.get()
    return Generator(
        engine,
        scheduler,
        context_length=context_length,
        conversation_bytes=conversation_bytes,
        token_bytes=kv_bytes_per_token(file),
        context_bytes=generate_memory(file, context_length).on_host(on_device=engine.on_device),
        prefill_engine=prefill_engine,
    )
