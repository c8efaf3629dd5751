"""Which ranking finds more, and from which score on: words, vectors, and ways to combine them.

    python benchmarks/search.py MODEL SET... [--documents N] [--every N] [--cache FOLDER]

A SET is a file of questions about passages (SQuAD's JSON, or JSON Lines as
`benchmarks/search_sets.py` writes them) or Cranfield's folder. Its passages become chunks of a
store, its questions are searched for, and each way to rank is measured: the share of the
questions with one of their passages first, and among the first three, and nDCG@10.

Then the scores of hybrid search: of the right passages that are among the first three, the part
that each least score loses; of the same questions with their own passages left out of the store,
and of the questions of the other SETs, the part that it refuses.

`--documents N` takes the first N passages of each file, and the questions about them; of
Cranfield 50 queries by chance, with their relevant abstracts and 100 others. `--every N` takes
every Nth question. `--cache` keeps the vectors.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gritlite import GritLM
from gritlite.eval.cranfield import read_cranfield
from gritlite.eval.measures import ndcg
from gritlite.eval.questions import read_questions
from gritlite.rag.chunking import Chunk
from gritlite.rag.chunks import insert_chunks, insert_vectors
from gritlite.rag.database import Database
from gritlite.rag.search import WORDS_WEIGHT
from gritlite.rag.sources import complete_sources
from gritlite.rag.word_ranking import word_scores
from gritlite.runtime.embed import Vectors

Scores = NDArray[np.float64]  # of all passages [passages] for a question
MIN_SCORES = (0.1, 0.12, 0.13, 0.14, 0.15, 0.18, 0.2, 0.25)
CRANFIELD_QUERIES, CRANFIELD_OTHERS = 50, 100


@dataclass(frozen=True)
class Collection:
    """Passages, questions, and the numbers of each question's passages."""

    docs: list[str]
    queries: list[str]
    rel: list[list[int]]


@dataclass(frozen=True)
class Ranked:
    """A collection with its scores: `cosines` and `words` [questions, passages]."""

    collection: Collection
    cosines: NDArray[np.float64]
    words: NDArray[np.float64]

    @property
    def hybrid(self) -> NDArray[np.float64]:
        """The scores of the product's hybrid search."""
        return mean(WORDS_WEIGHT)(self.cosines, self.words)


Fusion = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def main() -> None:
    """Parse the command line and print both tables of each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--documents", type=int)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    with GritLM(options.model) as model, tempfile.TemporaryDirectory() as folder:
        embedded = {}
        for path in options.sets:
            collection = read(path, options.documents, options.every)
            cache = options.cache or Path(folder)
            embedded[path.stem] = (collection, *vectors(model, cache / path.stem, collection))
    ranked = {
        name: Ranked(
            collection, (queries @ docs.T).astype(np.float64), by_words(collection.docs, collection)
        )
        for name, (collection, docs, queries) in embedded.items()
    }
    for name, each in ranked.items():
        print_rankings(name, each)
    for name, each in ranked.items():
        others = [
            best_of(queries @ embedded[name][1].T, by_words(each.collection.docs, collection))
            for other, (collection, _, queries) in embedded.items()
            if other != name
        ]
        print_min_scores(name, each, others)


def read(path: Path, documents: int | None, every: int) -> Collection:
    """A set, or a part of it."""
    if path.is_dir():
        return read_part_of_cranfield(path, whole=documents is None)
    questions = read_questions(path)
    docs = list(dict.fromkeys(question.paragraph for question in questions))[:documents]
    numbers = {doc: number for number, doc in enumerate(docs)}
    asked = [question for question in questions[::every] if question.paragraph in numbers]
    return Collection(
        docs,
        [question.text for question in asked],
        [[numbers[question.paragraph]] for question in asked],
    )


def read_part_of_cranfield(path: Path, *, whole: bool) -> Collection:
    """Cranfield, or a part that embeds in minutes."""
    read = read_cranfield(path)
    names = [name for name, text in read.documents.items() if text.strip()]
    place = {name: number for number, name in enumerate(names)}
    relevant = [
        [
            place[name]
            for name, grade in read.judgements[query].items()
            if grade > 0 and name in place
        ]
        for query in read.queries
    ]
    queries, chosen = list(range(len(relevant))), list(range(len(names)))
    if not whole:
        chance = random.Random(0)
        queries = sorted(chance.sample(queries, CRANFIELD_QUERIES))
        others = chance.sample(chosen, CRANFIELD_OTHERS)
        chosen = sorted({number for query in queries for number in relevant[query]} | {*others})
    renumbered = {number: new for new, number in enumerate(chosen)}
    texts = list(read.queries.values())
    return Collection(
        [read.documents[names[number]] for number in chosen],
        [texts[query] for query in queries],
        [[renumbered[number] for number in relevant[query]] for query in queries],
    )


def vectors(model: GritLM, cache: Path, collection: Collection) -> tuple[Vectors, Vectors]:
    """The vectors of the passages and the questions, kept in files beside `cache`."""
    facts, numbers = cache.with_suffix(".json"), cache.with_suffix(".npz")
    if not facts.exists() or json.loads(facts.read_text("utf-8")) != asdict(collection):
        docs = model.encode(collection.docs, max_length=None)
        queries = model.encode(collection.queries, max_length=None)
        np.savez(numbers, D=docs, Q=queries)
        facts.write_text(json.dumps(asdict(collection)), "utf-8")
    kept = np.load(numbers)
    return kept["D"], kept["Q"]


def by_words(docs: Sequence[str], asked: Collection) -> NDArray[np.float64]:
    """The scores of words [questions, passages] that a store of the passages gives."""
    scores = np.zeros((len(asked.queries), len(docs)))
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder, "a.grit"))
        with database.transaction():
            database.execute(
                "insert into source (id, path, digest, size, mtime_ns, read_ns)"
                " values (1, 'a', x'00', 0, 0, 0)"
            )
            chunks = [Chunk(text, "", "", text) for text in docs]
            insert_chunks(database, 1, chunks, [1] * len(chunks))
            empty = np.ones((len(chunks), 4), np.float32)
            insert_vectors(database, list(range(1, len(chunks) + 1)), empty, "float32")
            complete_sources(database, [1])
        for row, query in enumerate(asked.queries):
            for chunk, score in word_scores(database, query).items():
                scores[row, chunk - 1] = score
        database.close()
    return scores


def mean(weight: float) -> Fusion:
    """The weighted mean of cosines and words."""
    return lambda cosines, words: (1 - weight) * cosines + weight * words


def reciprocal(cosines: NDArray[np.float64], words: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reciprocal rank fusion of the first 50 of both rankings, with its usual constant of 60."""
    fused = np.zeros_like(cosines)
    for scores in (cosines, words):
        ranks = (-scores).argsort(1, kind="stable").argsort(1) + 1
        fused += np.where((ranks <= 50) & (scores != 0), 1 / (60 + ranks), 0)
    return fused


FUSIONS: dict[str, Fusion] = {
    "vectors": mean(0.0),
    "words": mean(1.0),
    "reciprocal ranks": reciprocal,
    **{f"mean, words {weight}": mean(weight) for weight in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)},
}


def print_rankings(name: str, ranked: Ranked) -> None:
    """Print how well each way to rank finds the passages."""
    collection = ranked.collection
    print(f"{name}: {len(collection.docs):,} passages, {len(collection.queries):,} questions")
    print(f"  {'':20} first  of three  nDCG@10")
    for label, fusion in FUSIONS.items():
        found = np.array(
            [
                measured(scores, relevant)
                for scores, relevant in zip(
                    fusion(ranked.cosines, ranked.words), collection.rel, strict=True
                )
            ]
        )
        first, three, gain = found.mean(axis=0)
        print(f"  {label:20} {first:.3f}     {three:.3f}    {gain:.3f}")


def measured(scores: Scores, relevant: Sequence[int]) -> tuple[float, float, float]:
    """Whether a relevant passage is first, and among the first three, and nDCG@10."""
    grades = [int(row in relevant) for row in np.argsort(-scores, kind="stable")[:10]]
    return grades[0], max(grades[:3]), ndcg(grades, [1] * len(relevant), 10)


def best_of(cosines: NDArray[Any], words: NDArray[np.float64]) -> Scores:
    """The best hybrid score of each question."""
    return np.asarray(mean(WORDS_WEIGHT)(cosines.astype(np.float64), words).max(axis=1))


def print_min_scores(name: str, ranked: Ranked, others: Sequence[Scores]) -> None:
    """Print what each least score loses and refuses."""
    right = []
    for scores, relevant in zip(ranked.hybrid, ranked.collection.rel, strict=True):
        if measured(scores, relevant)[1]:
            right.append(scores[relevant].max())
    removed = ranked.hybrid.copy()
    for row, relevant in enumerate(ranked.collection.rel):
        removed[row, relevant] = -1
    left_out = removed.max(axis=1)
    foreign = np.concatenate(others) if others else np.zeros(0)
    print(f"{name}: least score, right passages lost, own passage left out: refused, other sets'")
    for least in MIN_SCORES:
        groups = [np.asarray(scores) for scores in (right, left_out, foreign)]
        shares = [f"{np.mean(scores < least):.3f}" if scores.size else "-" for scores in groups]
        print(f"  {least:.2f}  {'  '.join(shares)}")


if __name__ == "__main__":
    main()
