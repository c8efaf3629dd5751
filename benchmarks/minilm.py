"""Run the embedding tasks of `gritlite eval` on a sentence-transformers model, as a baseline.

Files, measures and notes are the same; `gritlite eval --compare` accepts the report.

    python benchmarks/minilm.py FOLDER --json minilm.json --sts sts-test.tsv ...
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from sentence_transformers import SentenceTransformer

from gritlite import __version__
from gritlite.eval.classification import Classification
from gritlite.eval.clustering import Clustering
from gritlite.eval.encoder import Encoder
from gritlite.eval.report import EvaluationReport, model_file, write_report
from gritlite.eval.retrieval import Retrieval
from gritlite.eval.sts import STS
from gritlite.eval.task import Task
from gritlite.runtime.embed import Vectors

BATCH = 64  # texts


class SentenceEncoder:
    """A folder of sentence-transformers' form on the CPU. Texts are cut to what it was made for."""

    def __init__(self, folder: Path) -> None:
        self._model = SentenceTransformer(str(folder), device="cpu")
        self.max_length: int = self._model.max_seq_length
        self.cut = 0

    def stream(
        self, texts: Sequence[str], instruction: str, progress: Callable[[int], None]
    ) -> Iterator[Vectors]:
        """Embed texts; these models have no instructions."""
        del instruction, progress
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            tokens = self._model.tokenizer(batch, truncation=False, verbose=False)["input_ids"]
            self.cut += sum(len(ids) > self.max_length for ids in tokens)
            yield self._model.encode(batch, normalize_embeddings=True, show_progress_bar=False)


def main() -> None:
    """Parse the command line, run the tasks, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    for name in ("--sts", "--retrieval", "--classification", "--clustering"):
        parser.add_argument(name, type=Path, action="append", default=[])
    options = parser.parse_args()

    tasks: list[Task[Encoder]] = [
        *map(STS, options.sts),
        *map(Retrieval, options.retrieval),
        *map(Classification, options.classification),
        *map(Clustering, options.clustering),
    ]
    encoder = SentenceEncoder(options.folder)
    scores = []
    for task in tasks:
        for score in task.run(encoder, _count):
            print(f"\r{score.task}: {score.measure} {score.value:.4f} {score.note}")
            scores.append(score)
    versions = {"gritlite": __version__} | {
        name: version(name) for name in ("sentence-transformers", "torch")
    }
    weights = replace(model_file(options.folder / "model.safetensors"), name=options.folder.name)
    report = EvaluationReport(weights, versions, {}, tuple(scores), seconds={})
    write_report(report, options.json, force=True)


def _count(done: int, total: int) -> None:
    print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
