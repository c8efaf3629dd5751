"""What `gritlite doctor` reports on this machine, its llama.cpp build and a model.

llama.cpp is loaded into this process only after it has run in a child process.
"""

import contextlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gritlite.cli.commands.doctor_extras import (
    OptionalPackage,
    installed_version,
    optional_packages,
)
from gritlite.cli.shared.verdicts import EngineFacts, engine_facts
from gritlite.errors import GritLiteError, LibraryError
from gritlite.modelfile.header import GGUFFile, read_header
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.modelfile.memory import PASS_TOKENS, MemoryNeed, embed_memory, generate_memory
from gritlite.modelfile.unchecked import unchecked_parts
from gritlite.runtime import probe
from gritlite.runtime.model_probe import ModelVerdict, try_model
from gritlite.runtime.onnx.forms import NUMBERS
from gritlite.runtime.onnx.packages import installed_version as installed_version_of
from gritlite.system import cache
from gritlite.system.locate import pulled_models
from gritlite.system.machine import available_memory
from gritlite.system.threads import default_threads

if TYPE_CHECKING:
    from gritlite.runtime.llama import Gpu

DEFAULT = "default"
_CHAT_TOKENS = 4096
# instruction sets that llama.cpp's kernels use, by their names in /proc/cpuinfo
_INSTRUCTION_SETS = (
    "ssse3",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "bmi2",
    "avx_vnni",
    "avx512f",
    "avx512vbmi",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "sme",
)


@dataclass(frozen=True)
class Machine:
    """The processor and the memory; `memory_available` is None where the system does not say."""

    processor: str
    instruction_sets: tuple[str, ...]
    logical_cores: int
    threads: int
    memory_available: int | None


@dataclass(frozen=True)
class Library:
    """What the llama.cpp build can do, and how the safety probe went.

    `runs` is whether it can run at all, `repack` whether it can use its fastest
    kernels; `problem` says what went wrong, and is empty if nothing did. A build with
    `gpu_backends`, such as CUDA, may see no `gpus`.
    """

    version: str | None
    runs: bool
    repack: bool
    problem: str
    gpu: bool = False
    gpus: "tuple[Gpu, ...]" = ()
    gpu_backends: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fit:
    """A use of a model, the memory it needs, and whether that is available (None: unknown)."""

    use: str
    need: MemoryNeed
    fits: bool | None


@dataclass(frozen=True)
class Diagnostics:
    """The whole report. `trial` is None unless the model holds what cannot be checked.

    `extras` are the optional packages by extra, and `runtimes` the versions of those that
    evaluate graphs (None: not installed). `engines` is what is known of the engines for the
    model, or for the default model if none is given.
    """

    machine: Machine
    library: Library
    cache_folder: Path
    pulled_models: Mapping[str, Path]
    extras: Mapping[str, tuple[OptionalPackage, ...]]
    fits: tuple[Fit, ...]
    runtimes: Mapping[str, str | None]
    engines: tuple[EngineFacts, ...]
    trial: ModelVerdict | None = None


def diagnose(model: GGUFFile | None) -> Diagnostics:
    """Examine the machine, llama.cpp and the model. Problems are reported, not raised."""
    machine = _machine()
    library = _library()
    return Diagnostics(
        machine=machine,
        library=library,
        cache_folder=cache.root(),
        pulled_models=pulled_models(),
        extras=optional_packages(),
        fits=_fits(model, machine.memory_available) if model is not None else (),
        runtimes={runtime: installed_version_of(runtime) for runtime in NUMBERS},
        engines=_engines(model),
        trial=_trial(model, library) if model is not None else None,
    )


def _engines(model: GGUFFile | None) -> tuple[EngineFacts, ...]:
    """What is known of the engines for a model, or for the default one if it is pulled."""
    default = pulled_models().get(DEFAULT)
    if model is None and default is not None:
        with contextlib.suppress(GritLiteError):  # the report goes on without a damaged file
            model = read_header(default)
    return () if model is None else engine_facts(model)


def _trial(model: GGUFFile, library: Library) -> ModelVerdict | None:
    """Try again a model that holds what cannot be checked."""
    if not library.runs or not unchecked_parts(model):
        return None
    return try_model(model, gpu_layers="auto", repack=library.repack)


def _machine() -> Machine:
    about = _cpuinfo()
    flags = (about.get("flags") or about.get("Features") or "").split()
    return Machine(
        processor=about.get("model name") or platform.processor() or platform.machine(),
        instruction_sets=tuple(name for name in _INSTRUCTION_SETS if name in flags),
        logical_cores=os.cpu_count() or 1,
        threads=default_threads(),
        memory_available=available_memory(),
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo on Linux; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    first = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _library() -> Library:
    installed = installed_version("llama-cpp-python")
    try:
        verdict = probe.renew()
        from gritlite.runtime.llama import capabilities

        build = capabilities()
    except LibraryError as error:
        return Library(installed, runs=False, repack=False, problem=str(error))
    return Library(
        installed,
        True,
        verdict.repack,
        verdict.problem,
        gpu=build.gpu,
        gpus=build.gpus,
        gpu_backends=build.gpu_backends,
        features=build.features,
    )


def _fits(model: GGUFFile, available: int | None) -> tuple[Fit, ...]:
    trained = read_hyperparameters(model).context_length
    lengths = sorted({min(_CHAT_TOKENS, trained), trained})
    embed = embed_memory(model, min(PASS_TOKENS, trained))
    needs = {f"embed, passes of {min(PASS_TOKENS, trained):,} tokens": embed}
    for length in lengths:
        needs[f"chat of {length:,} tokens"] = generate_memory(model, length)
    needs[f"both, a chat of {lengths[0]:,} tokens"] = _together(
        embed, generate_memory(model, lengths[0])
    )
    return tuple(
        Fit(use, need, None if available is None else need.total <= available)
        for use, need in needs.items()
    )


def _together(one: MemoryNeed, other: MemoryNeed) -> MemoryNeed:
    """Two contexts on one copy of the weights."""
    return MemoryNeed(
        one.weights,
        one.kv_cache + other.kv_cache,
        one.compute + other.compute,
        one.outputs + other.outputs,
    )
