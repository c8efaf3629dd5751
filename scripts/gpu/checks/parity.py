"""Vectors of the GPU against those of the processor, for each architecture and type."""

import numpy as np

from checks.comparing import gpu_layers, least_cosine, loaded
from checks.models import tiny_file
from checks.parts import Task
from gritlite import instruction
from tests.some_texts import some_texts

LEAST = {"f32": 0.9999, "f16": 0.9999, "q8_0": 0.999, "q4_k_m": 0.999}
_QUERY = instruction("Given a question, retrieve the passage that answers it")


def run(task: Task) -> None:
    """Embed the same texts on both, as documents and as queries."""
    texts = some_texts(task.size.texts)
    for kind in task.size.kinds:
        for case in task.size.cases:
            path = tiny_file(task.folder, case, kind)
            vectors = []
            for layers in (0, gpu_layers(task)):
                with loaded(task, path, layers) as model:
                    both = [model.encode(texts), model.encode(texts, instruction=_QUERY)]
                    vectors.append(np.concatenate(both))
            least = least_cosine(*vectors)
            held = least >= LEAST[kind]
            task.results.check(f"{case} {kind}", held, least_cosine=least, wanted=LEAST[kind])
