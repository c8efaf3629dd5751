"""None, half and all of the layers on the GPU, and what happens when they do not fit."""

import contextlib
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from checks.comparing import departure, gpu_layers, greedy, least_cosine, loaded
from checks.models import SHAPES, letters, shaped_file
from checks.parts import Task
from gritlite.errors import DeviceError, OutOfMemoryError
from gritlite.modelfile.header import read_header
from gritlite.modelfile.memory import kv_bytes_per_token
from gritlite.runtime.llama import GpuLayers
from gritlite.runtime.llama.devices import gpus

_LEAST = 0.999  # of a cosine: the files are in q8_0
_TIE = 0.1
_LEFT = 2**30  # bytes that a rehearsal leaves itself
_TEXTS = 16


def run(task: Task) -> None:
    """Compare each with the processor, then ask for more than there is."""
    name = next(iter(task.size.embed_tokens))
    path = shaped_file(task.folder, name)
    if task.results.device == "cpu":
        _refused_without_a_gpu(task, path)
    half = SHAPES[name].layers // 2
    on_gpu: tuple[GpuLayers, ...] = (half, "all", "auto")
    _compare(task, path, (0, *on_gpu) if task.results.device == "gpu" else (0, "auto"))
    for count in () if task.results.device == "gpu" else (half, "all"):
        task.results.needs_gpu(f"{count} layers", "there is no GPU to put them on")
    _context_too_long(task, path)
    _weights_too_large(task, path)


def _compare(task: Task, path: Path, counts: tuple[GpuLayers, ...]) -> None:
    texts = [letters(16 + 8 * number, number) for number in range(_TEXTS)]
    prompt = letters(64)
    with loaded(task, path, 0) as reference:
        expected = reference.encode(texts)
        ids, answer = greedy(reference, prompt, task.size.answer_tokens)
        for count in counts:
            free = _free_memory()
            with loaded(task, path, count) as model:
                least = least_cosine(model.encode(texts), expected)
                _, given = greedy(model, prompt, task.size.answer_tokens)
                used = None if free is None else free - (_free_memory() or 0)
            left = departure(reference, ids, answer, given)
            gap = 0.0 if left is None else left.gap
            task.results.check(
                f"{count} layers",
                least >= _LEAST and gap <= _TIE,
                least_cosine=least,
                gap=gap,
                gpu_bytes=used,
            )


def _free_memory() -> int | None:
    found = gpus()
    return found[0].memory_free if found else None


def _refused_without_a_gpu(task: Task, path: Path) -> None:
    try:
        loaded(task, path, "all").close()
    except DeviceError as error:
        task.results.measure("layers asked for without a GPU", message=str(error))


def _context_too_long(task: Task, path: Path) -> None:
    """Cells of twice the memory there is are an error with its cure."""
    found = gpus()
    memory = found[0].memory_total if found else _LEFT
    tokens = 2 * memory // kv_bytes_per_token(read_header(path))
    with contextlib.nullcontext() if found else _little_memory():
        message = _failure(task, path, gpu_layers(task), {"context_length": tokens})
    task.results.check(
        "a context that does not fit",
        "use a shorter one" in message,
        message=_shortened(message, path),
    )


@contextlib.contextmanager
def _little_memory() -> Iterator[None]:
    """Let this process take no more than _LEFT bytes more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _LEFT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _weights_too_large(task: Task, path: Path) -> None:
    """On a GPU of which torch holds nearly all, the weights do not fit either."""
    name = "weights that do not fit"
    if task.results.device == "cpu":
        task.results.needs_gpu(name, "there is no GPU to fill")
        return
    import torch

    free = _free_memory() or 0
    held = torch.empty(max(free - path.stat().st_size // 2, 0), dtype=torch.uint8, device="cuda")
    message = _failure(task, path, "all", {})
    del held
    torch.cuda.empty_cache()
    held_good = "put fewer layers on the GPU" in message
    task.results.check(name, held_good, message=_shortened(message, path))
    with loaded(task, path, "all") as model:  # and the process goes on
        task.results.check("the GPU works after that", len(model.encode([letters(16)])) == 1)


def _failure(task: Task, path: Path, layers: GpuLayers, options: dict[str, Any]) -> str:
    """The message of an OutOfMemoryError, or nothing if all went well."""
    try:
        with loaded(task, path, layers, **options) as model:
            model.generate(letters(8), max_tokens=1)
    except OutOfMemoryError as error:
        return str(error)
    return ""


def _shortened(message: str, path: Path) -> str:
    """For the results: no paths of this machine, and llama.cpp's reason as far as its cause."""
    return re.sub(r"\(.*\)", "(...)", message.replace(str(path), path.name))
