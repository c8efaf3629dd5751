"""Greedy answers on both devices, and a chat on the GPU with embedding passes in between."""

from itertools import count
from typing import Any

from checks.comparing import departure, gpu_layers, greedy, least_cosine, loaded
from checks.models import tiny_file
from checks.parts import Task
from tests.some_texts import some_texts

_TIE = {"f32": 0.02, "q8_0": 0.1}  # standard deviations of the logits
_PROMPTS = 4
_BETWEEN = 3  # pieces of an answer between two embedding passes
_SAME = 0.99999


def run(task: Task) -> None:
    """For each architecture, in a float and in a quantized type."""
    for case in task.size.cases:
        for kind, tie in _TIE.items():
            _compare(task, case, kind, tie)
    _embed_during_a_chat(task)


def _compare(task: Task, case: str, kind: str, tie: float) -> None:
    """Answers are the same up to a departure, if any, where two tokens are a tie."""
    prompts = some_texts(_PROMPTS, seed=1)
    path = tiny_file(task.folder, case, kind)
    with (
        loaded(task, path, 0) as reference,
        loaded(task, path, gpu_layers(task)) as model,
    ):
        found = []
        for prompt in prompts:
            ids, expected = greedy(reference, prompt, task.size.answer_tokens)
            _, given = greedy(model, prompt, task.size.answer_tokens)
            found.append(departure(reference, ids, expected, given))
    gaps = [each.gap for each in found if each is not None]
    task.results.check(
        f"{case} {kind}",
        all(gap <= tie for gap in gaps),
        answers=len(prompts),
        same=len(prompts) - len(gaps),
        widest_gap=max(gaps, default=0.0),
        tie=tie,
    )


def _embed_during_a_chat(task: Task) -> None:
    texts = some_texts(task.size.texts, seed=2)
    messages = [{"role": "user", "content": some_texts(1, seed=3)[0]}]
    settings: dict[str, Any] = {"temperature": 0, "max_tokens": task.size.answer_tokens}
    path = tiny_file(task.folder, task.size.cases[0], "f32")
    with loaded(task, path, gpu_layers(task)) as model:
        alone, vectors = model.chat(messages, **settings), model.encode(texts)
        least, said = 1.0, ""
        for number, piece in zip(count(), model.chat(messages, stream=True, **settings)):
            said += piece
            if number % _BETWEEN == 0:
                least = min(least, least_cosine(model.encode(texts), vectors))
    held = said == alone and least >= _SAME
    task.results.check("a chat with embeddings in between", held, least_cosine=least)
