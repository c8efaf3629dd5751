"""Training speed: tokens a second of forward and backward, of this tree and of another's trainer.

    python benchmarks/train.py [--against DIR] [--rounds 5] [--threads 1] [--profile]

DIR is another checkout of gritlite, such as a git worktree of an earlier commit. Each trainer
runs in a child process, one batch after the other, turn about. The batches have the sizes and
lengths of the default recipe's rows, with random token ids and teacher vectors: one of each
source, and the sources are weighed by their shares. Lengths are others in each round, as those
of real batches are. Tokens are the rows' own, without padding.

With one thread, seconds are the process's own processor time, so that tokens a second are per
core, and work of others on the machine disturbs less; with several they are the clock's.
`--profile` prints instead where a step's time goes here.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from embed import processor

RECIPE = Path(__file__).parents[1] / "recipes" / "default" / "recipe.toml"
VOCABULARY, TEACHER_WIDTH = 49_152, 384
ONE_GRAPH = 4096  # tokens: every batch is smaller


@dataclass(frozen=True)
class Shape:
    """A source's batch: `rows` rows of texts of about `lengths` tokens, and its share.

    Of a generative row's tokens, the last `learned` are learned, and the first
    `document` attend in both directions.
    """

    rows: int
    lengths: tuple[int, ...]
    share: int
    learned: int = 0
    document: int = 0


# mean lengths of the rows that recipes/default/prepare.py makes
EMBEDDING = {
    "sts": Shape(64, (13, 13), 4),
    "neighbours": Shape(10, (26,) * 6, 3),
    "paraphrase": Shape(32, (18, 18), 1),
    "qa_passages": Shape(16, (18, 82), 3),
    "titles": Shape(20, (8, 47), 1),
}
GENERATIVE = {
    "text": Shape(3, (107,), 1, learned=106),
    "text_tokenised": Shape(3, (127,), 1, learned=126),
    "chat": Shape(2, (155,), 1, learned=90),
    "qa_prompt": Shape(3, (148,), 2, learned=6),
    "cached": Shape(3, (132,), 3, learned=6, document=100),
}


def main() -> None:
    """Parse the command line; measure, profile, or be a child."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout, whose trainer is the first")
    parser.add_argument("--base", default="base", help="a pulled model, GGUF file or folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(options.base, options.threads)
    elif options.profile:
        profile(options.base, options.threads)
    else:
        trees = {"this tree": Path(__file__).parents[1]}
        if options.against is not None:
            trees = {"against": options.against.resolve(), **trees}
        compare(trees, options)


def compare(trees: dict[str, Path], options: argparse.Namespace) -> None:
    """Run the trees' trainers turn about and print the tables."""
    children = {name: Child(tree, options.base, options.threads) for name, tree in trees.items()}
    print(f"{processor()}, {options.threads} threads, medians of {options.rounds} rounds\n")
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in trees}
    for _ in range(options.rounds):
        for source in (*EMBEDDING, *GENERATIVE):
            for name, child in children.items():
                seconds[name].setdefault(source, []).append(child.ask(source))
    peaks = {name: child.close() for name, child in children.items()}
    medians = {
        name: {source: statistics.median(runs) for source, runs in each.items()}
        for name, each in seconds.items()
    }
    print("| trainer | embedding | generative | together | peak memory |\n|---|---|---|---|---|")
    for name, each in medians.items():
        speeds = [f"{speed(part, each):,.0f}" for part in _parts()]
        print(f"| {name} | {' | '.join(speeds)} | {peaks[name]:,.0f} MB |")
    first, last = (medians[name] for name in (next(iter(trees)), list(trees)[-1]))
    ratios = [f"{speed(part, last) / speed(part, first):.2f}" for part in _parts()]
    each_core = " and core" if options.threads == 1 else ""
    print(f"| ratio | {' | '.join(ratios)} | |\n\nTokens a second{each_core}.\n")
    print(f"| batch | tokens |{''.join(f' {name}, s |' for name in trees)}")
    print("|---|---|" + "---|" * len(trees))
    for source, shape in (EMBEDDING | GENERATIVE).items():
        cells = "".join(f" {each[source]:.2f} |" for each in medians.values())
        print(f"| {source} | {shape.rows * sum(shape.lengths):,} |{cells}")


def _parts() -> list[dict[str, tuple[Shape, float]]]:
    """The embedding batches, the generative ones, and both, weighed as the recipe takes them."""
    tasks = []
    for task in (EMBEDDING, GENERATIVE):
        shares = sum(shape.share for shape in task.values())
        tasks.append({name: (shape, shape.share / shares) for name, shape in task.items()})
    return [*tasks, tasks[0] | tasks[1]]


def speed(part: dict[str, tuple[Shape, float]], seconds: dict[str, float]) -> float:
    """Tokens a second over batches in proportion to their weights."""
    tokens = sum(weight * shape.rows * sum(shape.lengths) for shape, weight in part.values())
    return tokens / sum(weight * seconds[name] for name, (_, weight) in part.items())


class Child:
    """A trainer in a process of its own that computes a batch's gradient when it is told to."""

    def __init__(self, tree: Path, base: str, threads: int) -> None:
        command = [sys.executable, __file__, "--child", "--base", base, "--threads", str(threads)]
        environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for source in (*EMBEDDING, *GENERATIVE):  # to warm up
            self.ask(source)

    def ask(self, source: str) -> float:
        """Seconds of a batch's forward and backward."""
        return self._said(source)

    def close(self) -> float:
        """End the process; returns its peak memory in megabytes."""
        peak = self._said("end")
        self._process.wait()
        return peak

    def _said(self, word: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(word, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def serve(base: str, threads: int) -> None:
    """Compute the batches that the parent asks for."""
    steps = make_steps(base, threads)
    now = time.process_time if threads == 1 else time.perf_counter
    for line in sys.stdin:
        if line.strip() == "end":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, flush=True)
            return
        start = now()
        steps[line.strip()]()
        print(now() - start, flush=True)


def profile(base: str, threads: int) -> None:
    """Print the operations that take most of an embedding and of a generative batch's time."""
    import torch

    steps = make_steps(base, threads)
    for source in ("neighbours", "cached"):
        steps[source]()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
            steps[source]()
        print(f"\n{source}\n")
        print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


def make_steps(base: str, threads: int) -> Mapping[str, Callable[[], None]]:
    """Functions that each compute the gradient of a source's batch, and forget it."""
    import torch

    from gritlite.convert.pretrained import load_model
    from gritlite.system.locate import locate
    from gritlite.train.model import AdaptedModel
    from gritlite.train.recipe import Recipe

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    path = Path(base) if Path(base).exists() else locate(base)
    adapter = Recipe.read(RECIPE).adapter
    model = AdaptedModel(load_model(path), adapter, device=torch.device("cpu"))
    embedding = {name: partial(embed, model, count(), s) for name, s in EMBEDDING.items()}
    return embedding | {
        name: partial(generate, model, count(), shape) for name, shape in GENERATIVE.items()
    }


def embed(model: Any, rounds: Iterator[int], shape: Shape) -> None:
    """Forward and backward of a distillation over a batch's texts."""
    import torch
    from torch.nn.functional import normalize

    from gritlite.train import objectives
    from gritlite.train.tokens import EmbedTokens

    texts = [EmbedTokens(ids, 3) for ids in sequences(shape, next(rounds))]
    teacher = normalize(torch.randn(len(texts), TEACHER_WIDTH), dim=1)
    gradients(model).of_vectors(
        model.vectors, texts, lambda vectors: objectives.distillation(vectors, teacher)
    )
    forget(model)


def generate(model: Any, rounds: Iterator[int], shape: Shape) -> None:
    """Forward and backward of the cross-entropy over a batch's learned tokens."""
    from gritlite.train import objectives
    from gritlite.train.tokens import GenerateTokens

    samples = []
    for ids in sequences(shape, next(rounds)):
        learned = min(shape.learned, len(ids) - 1)
        loss = (False,) * (len(ids) - learned) + (True,) * learned
        document = min(shape.document, len(ids) - learned)
        samples.append(GenerateTokens(ids, loss, (document,) if document else ()))
    gradients(model).of_tokens(model.token_losses, samples, objectives.by_token, 1.0)
    forget(model)


def sequences(shape: Shape, number: int) -> list[tuple[int, ...]]:
    """Random token ids whose lengths differ by up to a third either way, others in each round."""
    import numpy as np

    random = np.random.default_rng((len(shape.lengths) * shape.rows, number))
    spread = random.uniform(2 / 3, 4 / 3, shape.rows)
    spread /= spread.mean()  # as many tokens in each round, about
    lengths = [round(mean * part) for part in spread for mean in random.permutation(shape.lengths)]
    return [tuple(random.integers(20, VOCABULARY, length).tolist()) for length in lengths]


def gradients(model: Any) -> Any:
    """What adds a batch's gradients in this tree, or in an earlier one, which had functions."""
    from gritlite.train import gradcache

    if not hasattr(gradcache, "Gradients"):
        return EarlierGradients(gradcache)
    return gradcache.Gradients(list(model.parameters.values()), ONE_GRAPH, model.workers)


class EarlierGradients:
    """The functions of the module as it was before it used several threads."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def of_vectors(self, *given: Any) -> None:
        self._module.backward(*given, ONE_GRAPH)

    def of_tokens(self, *given: Any) -> None:
        self._module.backward_tokens(*given, ONE_GRAPH)


def forget(model: Any) -> None:
    """Drop the gradients, for the next batch."""
    for parameter in model.parameters.values():
        parameter.grad = None


if __name__ == "__main__":
    main()
