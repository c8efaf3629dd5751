"""Speeds of embedding, prefill and decode beside Llama's and torch's, turn about in one process."""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.comparing import gpu_layers, loaded
from checks.models import CONTEXT, SHAPES, letters, shaped_file
from checks.parts import Task
from gritlite import GritLM
from gritlite.prompt import EMBED
from gritlite.system.threads import default_threads

Run = Callable[[], object]
Answer = Callable[[int], int]  # the tokens asked for, to those that came
_SHORTEST, _LONGEST = 32, 480  # tokens of a text that is embedded


def run(task: Task) -> None:
    """For each model both modes."""
    if task.results.device == "cpu" and "7B" not in task.size.embed_tokens:
        task.results.needs_gpu("7B", "it would take the processor too long")
    for name, tokens in task.size.embed_tokens.items():
        path = shaped_file(task.folder, name)
        _embedding(task, name, path, tokens)
        _answering(task, name, path)


def _embedding(task: Task, name: str, path: Path, tokens: int) -> None:
    """Ragged texts through each contender."""
    lengths = lengths_of_texts(tokens)
    texts, total = ragged_texts(tokens)
    contenders: dict[str, Run] = {}
    for passes in task.size.passes:
        ours = loaded(task, path, gpu_layers(task), pass_tokens=passes)
        contenders[f"gritlite, passes of {passes}"] = partial(ours.encode, texts)
        if passes <= 2048:
            theirs = _llama_embed(task, path, passes)
            contenders[f"Llama.embed, passes of {passes}"] = partial(theirs, texts)
    if find_spec("torch") is not None:
        from checks.torch_models import embedding

        contenders["torch"] = embedding(SHAPES[name], lengths + len(EMBED), task)
    seconds = turn_about(contenders, task.size.rounds)
    report(task, f"{name} embedding", {each: total / s for each, s in seconds.items()})


def lengths_of_texts(tokens: int) -> NDArray[np.int_]:
    """The lengths, short to long, of texts that have about so many tokens together."""
    count = max(tokens // ((_SHORTEST + _LONGEST) // 2), 2)
    return np.linspace(_SHORTEST, _LONGEST, count).astype(int)


def ragged_texts(tokens: int) -> tuple[list[str], int]:
    """Texts of these lengths, and their tokens with those of the format."""
    lengths = lengths_of_texts(tokens)
    texts = [letters(int(length), number) for number, length in enumerate(lengths)]
    return texts, int(lengths.sum()) + len(texts) * len(EMBED)


def _llama_embed(task: Task, path: Path, passes: int) -> Callable[[list[str]], object]:
    from llama_cpp import LLAMA_POOLING_TYPE_MEAN

    model = _llama(
        task,
        path,
        embedding=True,
        pooling_type=LLAMA_POOLING_TYPE_MEAN,
        n_ctx=passes,
        n_batch=passes,
        n_ubatch=passes,
    )
    return lambda texts: model.embed([EMBED + text for text in texts], normalize=True)


def _llama(task: Task, path: Path, **options: object) -> Any:
    from llama_cpp import Llama

    threads = task.size.threads or default_threads()
    return Llama(
        str(path),
        n_gpu_layers=-1 if task.results.device == "gpu" else 0,
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn=True,
        verbose=False,
        **options,
    )


def _answering(task: Task, name: str, path: Path) -> None:
    """A prompt and one token is the prefill; what more tokens take longer is the decoding."""
    contenders: dict[str, Answer] = {
        "gritlite": our_answer(task, loaded(task, path, gpu_layers(task), context_length=CONTEXT)),
        "Llama": _llama_answer(task, path),
    }
    if find_spec("torch") is not None:
        from checks.torch_models import answering

        contenders["torch"] = answering(SHAPES[name], task)
    many = 1 + task.size.answer_tokens
    came = {each: answer(many) for each, answer in contenders.items()}
    runs: dict[str, Run] = {}
    for each, answer in contenders.items():
        runs[f"{each} 1"] = partial(answer, 1)
        runs[f"{each} n"] = partial(answer, many)
    seconds = turn_about(runs, task.size.rounds)
    prefill = {each: task.size.prompt_tokens / seconds[f"{each} 1"] for each in contenders}
    decode = {
        each: (came[each] - 1) / (seconds[f"{each} n"] - seconds[f"{each} 1"])
        for each in contenders
        if seconds[f"{each} n"] > seconds[f"{each} 1"]  # or the answer was too short to tell
    }
    report(task, f"{name} prefill", prefill)
    report(task, f"{name} decode", decode)


def our_answer(task: Task, model: GritLM) -> Answer:
    """Answers a prompt, which is read anew, with so many tokens."""
    prompt = letters(task.size.prompt_tokens)

    def answer(tokens: int) -> int:
        model.clear_cache()
        said = model.generate(prompt, stream=True, temperature=0, max_tokens=tokens)
        for _ in said:
            pass
        return len(said.generated)

    return answer


def _llama_answer(task: Task, path: Path) -> Answer:
    model = _llama(task, path, n_ctx=CONTEXT)
    prompt = model.tokenize(letters(task.size.prompt_tokens).encode())

    def answer(tokens: int) -> int:
        said = model.generate(prompt, temp=0, reset=True)
        model.reset()
        for _ in range(tokens):
            next(said)
        return tokens

    return answer


def turn_about(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """Median seconds of each, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, once in runs.items():
            start = time.perf_counter()
            once()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def report(task: Task, name: str, rates: Mapping[str, float]) -> None:
    """Keep the tokens a second of each contender."""
    task.results.measure(name, tokens_a_second={each: round(r, 1) for each, r in rates.items()})
