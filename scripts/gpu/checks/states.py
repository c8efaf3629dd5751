"""Key-value states that go from one device to the other."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from checks.comparing import gpu_layers, least_cosine, loaded
from checks.models import tiny_file
from checks.parts import Task
from gritlite.runtime.document import DocumentState
from gritlite.runtime.llama import Batch, Context, ContextOptions, Weights
from gritlite.runtime.llama.sequence_state import read_sequence
from gritlite.runtime.llama.weights import GpuLayers
from gritlite.runtime.threads import default_threads
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
                states[place] = (model.document_state(_DOCUMENT), model.opening_state(_DOCUMENT))
                question = model.tokenize(_QUESTION)
        for index, kind in enumerate(("document", "opening")):
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
    """Logits of a question read behind a state, and whether its cells come back as they went."""
    count = len(question)
    threads = task.size.threads or default_threads()
    options = ContextOptions(state.tokens + count, count, threads, all_logits=True)
    with Weights(path, gpu_layers=layers) as weights, Context(weights, options) as context:
        context.restore(0, state.data)
        before, after = read_sequence(state.data), read_sequence(context.save(0))
        same = all(map(np.array_equal, before.rows, after.rows))
        positions = np.arange(state.tokens, state.tokens + count, dtype=np.int32)
        tokens, sequences = np.array(question, np.int32), np.zeros(count, np.int32)
        context.decode(Batch(tokens, positions, sequences, np.ones(count, np.bool_)))
        return context.all_logits(count).copy(), same
