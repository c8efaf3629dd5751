"""Key-value states that go from one device to the other."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from checks.comparing import gpu_layers, least_cosine, loaded
from checks.models import tiny_file
from checks.parts import Task
from gritlite.runtime.llama import GpuLayers, LlamaEngine
from gritlite.runtime.state import DocumentState
from gritlite.system.threads import default_threads
from tests.tiny_tokenizers import SENTENCES

_CLOSE = 0.9999
_DOCUMENT = " ".join(SENTENCES)
_QUESTION = SENTENCES[0]


def run(task: Task) -> None:
    """Make states on each device and go on from them on each, for each architecture."""
    places: dict[str, GpuLayers] = {"CPU": 0, "GPU": gpu_layers(task)}
    for case in task.size.cases:
        path = tiny_file(task.folder, case, "f32")
        states = {}
        for place, layers in places.items():
            with loaded(task, path, layers) as model:
                states[place] = (model.document_state(_DOCUMENT), model.prefix_state(_DOCUMENT))
                question = model.tokenize(_QUESTION)
        for index, kind in enumerate(("document", "prefix")):
            made = {place: pair[index] for place, pair in states.items()}
            logits = {
                (maker, reader): _go_on(task, path, layers, state, question)
                for reader, layers in places.items()
                for maker, state in made.items()
            }
            reference = logits["CPU", "CPU"][0]
            for (maker, reader), (given, back) in logits.items():
                least = least_cosine(given, reference)
                task.results.check(
                    f"{case}, {kind} state of the {maker} on the {reader}",
                    least >= _CLOSE and back,
                    least_cosine=least,
                    comes_back_the_same=back,
                )


def _go_on(
    task: Task, path: Path, layers: GpuLayers, state: DocumentState, question: list[int]
) -> tuple[NDArray[np.float32], bool]:
    """Logits of a question read behind a state, and whether the state comes back unchanged."""
    count = len(question)
    threads = task.size.threads or default_threads()
    engine = LlamaEngine(path, threads=threads, gpu_layers=layers)
    decoder = engine.open_decoder(state.tokens + count, count, all_logits=True)
    try:
        decoder.restore(state.key_values)
        same = decoder.state() == state.key_values
        decoder.evaluate(question, state.tokens, np.ones(count, np.bool_))
        return decoder.logits(count).copy(), same
    finally:
        decoder.close()
        engine.close()
