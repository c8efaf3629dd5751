"""The engine onnx, whose graph is in float16 on a GPU, beside llama.cpp: what both find, and when.

Vectors and keys and values are compared with those of llama.cpp on the processor, and times
with llama.cpp on the GPU. The package `onnxruntime-gpu` is larger than what travels: without it
nothing is done here. In a rehearsal the processor takes the GPU's place.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from checks.comparing import gpu_layers, least_cosine, loaded
from checks.models import CONTEXT, shaped_file, tiny_file
from checks.parts import Task
from checks.speed import our_answer, ragged_texts, report, turn_about
from gritlite import GritLM
from gritlite.errors import DeviceError
from gritlite.runtime import engine_choice
from gritlite.runtime.onnx import choice, device
from tests.some_texts import some_texts

LEAST = 0.999
_DOCUMENT = "The inn on the hill has nine rooms. The red ferry leaves at noon. " * 8


def run(task: Task) -> None:
    """Each architecture in both modes, and how fast the smaller model is."""
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            task.results.leave_out("the engine onnx", f"the package {package} is not there")
            return
    place = contextlib.nullcontext() if task.results.device == "gpu" else _processor()
    # also where it is not the faster of the two, so that it is timed
    with place, mock.patch.object(engine_choice, "_reads_prompts", return_value=True):
        try:
            device.check_gpu()
        except DeviceError as error:
            task.results.leave_out("the engine onnx", str(error))
            return
        for case in task.size.cases:
            _parity(task, case)
        _speed(task)


@contextlib.contextmanager
def _processor() -> Iterator[None]:
    """The form for a GPU is the only one, and runs on the processor."""
    with (
        mock.patch.object(device, "GPU", device.PROCESSOR),
        mock.patch.object(choice, "candidates", return_value=(choice.FLOAT16,)),
    ):
        yield


def _graph(task: Task, path: Path, **options: Any) -> GritLM:
    """A model that a graph on the GPU embeds with."""
    model = loaded(task, path, gpu_layers(task) or "auto", engine="onnx", **options)
    assert model.embeds_with == choice.FLOAT16.name
    return model


def _parity(task: Task, case: str) -> None:
    path, texts = tiny_file(task.folder, case, "f32"), some_texts(task.size.texts)
    with loaded(task, path, 0) as theirs, _graph(task, path) as ours:
        pairs = {
            "vectors": (ours.encode(texts), theirs.encode(texts)),
            "states": (_state(ours), _state(theirs)),
        }
    for what, pair in pairs.items():
        least = least_cosine(*pair)
        task.results.check(f"{case} {what}", least >= LEAST, least_cosine=least, wanted=LEAST)


def _state(model: GritLM) -> NDArray[np.float32]:
    """The keys, and the values, of a document in each layer."""
    found = model.document_state(_DOCUMENT).key_values
    return np.stack([each.astype(np.float32).ravel() for each in (*found.keys, *found.values)])


def _speed(task: Task) -> None:
    """Texts, and a prompt with one token of an answer, turn about on the same device."""
    name, tokens = next(iter(task.size.embed_tokens.items()))
    path, size = shaped_file(task.folder, name), max(task.size.passes)
    options: dict[str, Any] = {"pass_tokens": size, "context_length": CONTEXT}
    models = {
        "gritlite, the engine onnx": _graph(task, path, **options),
        "gritlite, llama.cpp": loaded(task, path, gpu_layers(task), **options),
    }
    texts, total = ragged_texts(tokens)
    embedding = {each: partial(model.encode, texts) for each, model in models.items()}
    seconds = turn_about(embedding, task.size.rounds)
    report(task, f"{name} embedding, passes of {size}", {e: total / s for e, s in seconds.items()})
    reading = {each: partial(our_answer(task, model), 1) for each, model in models.items()}
    seconds = turn_about(reading, task.size.rounds)
    count = task.size.prompt_tokens
    report(task, f"{name} prefill", {each: count / s for each, s in seconds.items()})
