"""The build, the machine, and whether the one sees the other's GPU."""

import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from checks.models import tiny_file
from checks.parts import Task
from gritlite.cli.commands.doctor_diagnostics import diagnose
from gritlite.runtime.llama import Weights, capabilities

_PACKAGES = ("llama-cpp-python", "gguf", "numpy", "torch", "transformers", "gptqmodel")


def run(task: Task) -> None:
    """Write down the machine, then check the GPU."""
    results, found = task.results, diagnose(None)
    results.measure(
        "machine",
        processor=found.machine.processor,
        cores=os.cpu_count(),
        memory=found.machine.memory_available,
        python=platform.python_version(),
        versions={package: _version(package) for package in _PACKAGES},
    )
    build = capabilities()
    results.measure("llama.cpp", build=build.build, features=build.features)
    results.check("the safety probe passes", found.library.runs and found.library.repack)
    if not build.gpus:
        backends = ", ".join(build.gpu_backends) or "none"
        results.needs_gpu("the build sees the GPU", f"it sees none; GPU support: {backends}")
        return
    for gpu in build.gpus:
        results.check("the build sees the GPU", gpu.memory_total > 0, **asdict(gpu))
    path = tiny_file(task.folder, "mistral", "f32")
    with Weights(path, gpu_layers="auto") as weights:
        results.check("auto puts the layers on it", weights.on_gpu)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
