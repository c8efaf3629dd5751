"""Models on two devices, and how what they say is compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.parts import Task
from gritlite import GritLM
from gritlite.runtime.answer import Answer
from gritlite.runtime.engine_choice import Engines
from gritlite.runtime.llama import GpuLayers
from gritlite.runtime.scorer import Scorer


def gpu_layers(task: Task) -> GpuLayers:
    """Whole models on the GPU; in a rehearsal on the processor."""
    return "all" if task.results.device == "gpu" else 0


def loaded(
    task: Task, path: Path, layers: GpuLayers, *, engine: Engines = "llama", **options: Any
) -> GritLM:
    """A model with so many layers on the GPU."""
    return GritLM(path, gpu_layers=layers, threads=task.size.threads, engine=engine, **options)


def least_cosine(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The smallest cosine of rows of [n, d] that belong together; NaN where a number is none."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    products = (a * b).sum(-1)
    return float((products / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).min())


@dataclass(frozen=True)
class Departure:
    """Where one greedy answer leaves another, and by how little it did.

    `gap` is how much more likely the first model finds its own token there than the
    other's, in standard deviations of its logits: near 0, the two were a tie.
    """

    after_tokens: int
    gap: float


def departure(
    model: GritLM, prompt: list[int], own: list[int], other: list[int]
) -> Departure | None:
    """Of two greedy answers to `prompt`, `own` by `model`; None where they are the same."""
    if own == other:
        return None
    pairs = enumerate(zip(own, other, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(own), len(other)))
    if place in (len(own), len(other)):  # one of them ended
        return Departure(place, float("inf"))
    before = prompt + own[:place]
    with Scorer(model) as scorer:
        logits = scorer.logits([*before, own[place]], len(before))[0]
    return Departure(place, float((logits[own[place]] - logits[other[place]]) / logits.std()))


def greedy(model: GritLM, prompt: str, tokens: int) -> tuple[list[int], list[int]]:
    """The ids of a prompt, and of the likeliest answer."""
    return ids_of(model.generate(prompt, stream=True, temperature=0, max_tokens=tokens))


def ids_of(answer: Answer) -> tuple[list[int], list[int]]:
    """The ids of an answer's prompt, and its own once it is finished."""
    for _ in answer:
        pass
    return answer.tokens[: answer.prompt_tokens], answer.generated
