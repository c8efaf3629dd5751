"""Ablations of the paper at a small scale: each task alone or both, and the generative losses.

    python recipes/ablations.py recipes/default/recipe.toml --data DIR --tokens 100000 -o build/runs

Every variant of the recipe is trained on about the same number of tokens from the same base,
merged into a q8_0 file and evaluated with gritlite on a part of each test set. Prints a table
with a row per variant. Files stay in the output folder; a variant with results there is not run
again. Needs the extras `train` and `eval`.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.errors import GritLiteError
from gritlite.eval.encoder import GritEncoder
from gritlite.eval.exact_match import ExactMatch
from gritlite.eval.perplexity import Perplexity
from gritlite.eval.retrieval import Retrieval
from gritlite.eval.sts import STS
from gritlite.eval.task import Score
from gritlite.system.files import atomic_write
from gritlite.system.locate import locate
from gritlite.train.examples import Examples
from gritlite.train.recipe import Generate, Recipe
from gritlite.train.run import save_adapter, vectors_folder
from gritlite.train.trainer import Trainer

Figures = dict[str, float]

PAIRS = 500  # of STS Benchmark's dev part
QUERIES = 150  # of XQuAD that retrieve
QUESTIONS = 60  # of XQuAD that are answered
CHUNKS = 20  # of WikiText-2, 512 tokens each


def main() -> None:
    """Parse the command line, run every variant, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the folder with eval/")
    parser.add_argument("--tokens", type=int, required=True, help="that each variant learns from")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        rows = run(options.recipe, options.data / "eval", options.tokens, options.output)
    except (GritLiteError, OSError) as error:
        sys.exit(f"error: {error}")
    print_table(rows)


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe as it is, and with one thing changed each."""
    embedding = tuple(source for source in recipe.source if source.embeds)
    generating = tuple(source for source in recipe.source if not source.embeds)
    found = {
        "joint": recipe,
        "embedding only": dataclasses.replace(recipe, source=embedding),
        "generation only": dataclasses.replace(recipe, source=generating),
    }
    for loss in ("token", "sample", "mixed"):
        if loss != recipe.generate.loss:
            generate = Generate(recipe.generate.weight, loss)
            found[f"joint, {loss} loss"] = dataclasses.replace(recipe, generate=generate)
    found["joint, cccc"] = dataclasses.replace(recipe, attention="cccc")
    return found


def run(recipe_path: Path, tests: Path, tokens: int, output: Path) -> dict[str, Figures]:
    """Train and measure what is not there yet; the figures of every variant."""
    recipe = Recipe.read(recipe_path)
    base = locate(recipe.base)
    output.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figures] = {}
    figures["the base"] = measured(base, tests, output / "the base.json")
    for name, variant in variants(recipe).items():
        result = output / f"{name}.json"
        model = output / f"{name}.gguf"
        if not result.exists():
            train(variant, base, recipe_path.parent, tokens, output / name)
            convert(base, model, "q8_0", adapter=output / name, force=True)
        figures[name] = measured(model, tests, result)
    return figures


def train(recipe: Recipe, base: Path, folder: Path, tokens: int, output: Path) -> None:
    """Train for about so many tokens and write the adapter."""
    trainer = Trainer(recipe, base, folder, vectors_folder(recipe, folder, output.parent))
    trainer.recipe = dataclasses.replace(
        recipe, steps=max(1, round(tokens / tokens_a_step(trainer.examples)))
    )
    for step in trainer.run():
        print(f"{output.name}: {step.to_json()}", file=sys.stderr)
    save_adapter(trainer, output)


def tokens_a_step(examples: list[Examples]) -> float:
    """The tokens of an average step: a batch of each task that has sources."""
    total = 0.0
    for embeds in (True, False):
        task = [one for one in examples if one.source.embeds == embeds]
        if task:
            shares = [one.source.share for one in task]
            batches = [one.source.batch * np.mean(one.rows.lengths) for one in task]
            total += float(np.average(batches, weights=shares))
    return total


def measured(model_path: Path, tests: Path, result: Path) -> Figures:
    """The figures of a file, read from `result` if they are there."""
    if not result.exists():
        with GritLM(model_path) as model:
            encoder = GritEncoder(model, truncate=True)
            questions = tests / "xquad" / "xquad.en.json"
            scores: list[Score] = []
            for embedding in (
                STS(tests / "stsb" / "sts-dev.tsv", limit=PAIRS),
                Retrieval(questions, limit=QUERIES),
            ):
                scores += embedding.run(encoder, _quietly)
            for generation in (
                Perplexity(tests / "wikitext2" / "valid.txt", limit=CHUNKS),
                ExactMatch(questions, passages="prompt", limit=QUESTIONS),
                ExactMatch(questions, passages="state", limit=QUESTIONS),
            ):
                scores += generation.run(model, _quietly)
        figures = {f"{score.task}: {score.measure}": score.value for score in scores}
        with atomic_write(result) as file:
            file.write(json.dumps(figures, indent=2).encode())
    return dict(json.loads(result.read_text(encoding="utf-8")))


def print_table(rows: Mapping[str, Figures]) -> None:
    """A Markdown table, a row a variant."""
    measures = list(next(iter(rows.values())))
    print(f"| | {' | '.join(measures)} |")
    print("|---" * (len(measures) + 1) + "|")
    for name, figures in rows.items():
        print(f"| {name} | {' | '.join(f'{figures[measure]:.4g}' for measure in measures)} |")


def _quietly(done: int, total: int) -> None:
    """Progress that nobody watches."""


if __name__ == "__main__":
    main()
