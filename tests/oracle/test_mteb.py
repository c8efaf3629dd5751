"""mteb's tasks, run by mteb on local data through `MTEBEncoder`, score as gritlite's tasks do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import mteb
import numpy as np
import pytest

from gritlite import GritLM
from gritlite.eval.classification import Classification
from gritlite.eval.clustering import Clustering
from gritlite.eval.encoder import GritEncoder
from gritlite.eval.mteb_encoder import MTEBEncoder
from gritlite.eval.retrieval import Retrieval
from gritlite.eval.sts import STS
from gritlite.eval.task import Score
from tests.tiny_tokenizers import SENTENCES

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:The task .* is superseded"),
]
TOPICS = ("cards", "cash", "exchange", "transfers")


@pytest.fixture(scope="module")
def model(tiny_path: Path) -> Iterator[GritLM]:
    with GritLM(tiny_path, threads=1) as loaded:
        yield loaded


def texts(count: int, seed: int) -> list[str]:
    """Different texts of 3 to 12 words."""
    random = np.random.default_rng(seed)
    words = " ".join(SENTENCES).split()
    return [f"{' '.join(random.choice(words, random.integers(3, 12)))} {i}" for i in range(count)]


def labelled(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts of which the first word tells the category."""
    topics = np.random.default_rng(seed).choice(TOPICS, count)
    return [
        (f"{topic} {text}", str(topic))
        for topic, text in zip(topics, texts(count, seed), strict=True)
    ]


def write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    lines = [f'"{text.replace(chr(34), chr(34) * 2)}",{category}\n' for text, category in rows]
    path.write_text("text,category\n" + "".join(lines), "utf-8")


def mteb_scores(model: GritLM, task: Any, dataset: Any) -> dict[str, float]:
    """`mteb.evaluate` on a dataset given to it; mteb would fetch one from the Hugging Face hub."""
    task.dataset = dataset
    task.data_loaded = True
    result = mteb.evaluate(MTEBEncoder(model), task, cache=None, show_progress_bar=False)
    scores: dict[str, float] = result.task_results[0].scores["test"][0]
    return scores


def our_scores(model: GritLM, task: Any) -> list[Score]:
    found: list[Score] = task.run(GritEncoder(model), silent)
    return found


def silent(done: int, total: int) -> None:
    """A progress that nobody sees."""


def test_sts(model: GritLM, tmp_path: Path) -> None:
    firsts, seconds = texts(60, 1), texts(60, 2)
    grades = np.random.default_rng(3).uniform(0, 5, 60).round(1).tolist()
    path = tmp_path / "sts.tsv"
    rows = [f"a\tb\tc\td\t{g}\t{s}\t{t}\n" for g, s, t in zip(grades, firsts, seconds, strict=True)]
    path.write_text("".join(rows), "utf-8")
    task = mteb.get_task("STSBenchmark")
    split = {"sentence1": firsts, "sentence2": seconds, "score": grades}
    theirs = mteb_scores(model, task, datasets.DatasetDict(test=datasets.Dataset.from_dict(split)))
    (ours,) = our_scores(model, STS(path, instruction="Retrieve semantically similar text."))
    assert ours.value == pytest.approx(theirs["cosine_spearman"], abs=1e-6)
    (without,) = our_scores(model, STS(path))
    assert abs(without.value - ours.value) > 1e-4


def test_classification(model: GritLM, tmp_path: Path) -> None:
    parts = {"train": labelled(120, 4), "test": labelled(80, 5)}
    for name, rows in parts.items():
        write_csv(tmp_path / f"{name}.csv", rows)
    splits = {
        name: datasets.Dataset.from_dict(
            {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
        )
        for name, rows in parts.items()
    }
    task = mteb.get_task("Banking77Classification")
    theirs = mteb_scores(model, task, datasets.DatasetDict(splits))
    instruction = "Given a online banking query, find the corresponding intents"
    (ours,) = our_scores(model, Classification(tmp_path, instruction=instruction))
    assert ours.value == pytest.approx(theirs["accuracy"], abs=1e-9)
    assert 0.3 < ours.value < 1


def test_clustering(model: GritLM, tmp_path: Path) -> None:
    rows = labelled(90, 6)
    write_csv(tmp_path / "test.csv", rows)
    split = {"sentences": [text for text, _ in rows], "labels": [label for _, label in rows]}
    task = mteb.get_task("TwentyNewsgroupsClustering.v2")
    task.max_fraction_of_documents_to_embed = None
    theirs = mteb_scores(model, task, datasets.DatasetDict(test=datasets.Dataset.from_dict(split)))
    instruction = "Identify the topic or theme of the given news articles"
    (ours,) = our_scores(model, Clustering(tmp_path / "test.csv", instruction=instruction))
    assert ours.value == pytest.approx(theirs["v_measure"], abs=1e-6)
    assert 0.01 < ours.value < 1


def test_retrieval(model: GritLM, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    corpus = [
        {"_id": f"d{i}", "title": f"title {i % 7}", "text": text}
        for i, text in enumerate(texts(130, 8))
    ]
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts(20, 9))]
    judgements = {
        query["_id"]: {f"d{d}": int(random.integers(0, 4)) for d in random.choice(130, 12, False)}
        for query in queries
    }
    for name, entries in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps(entry) + "\n" for entry in entries]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    (tmp_path / "qrels").mkdir()
    lines = [f"{q}\t{d}\t{g}\n" for q, found in judgements.items() for d, g in found.items()]
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    task = mteb.get_task("SciFact")
    data = {
        "corpus": datasets.Dataset.from_list(
            [{"id": d["_id"], "title": d["title"], "text": d["text"]} for d in corpus]
        ),
        "queries": datasets.Dataset.from_list(
            [{"id": q["_id"], "text": q["text"]} for q in queries]
        ),
        "relevant_docs": judgements,
        "top_ranked": None,
    }
    theirs = mteb_scores(model, task, {"default": {"test": data}})
    instruction = task.metadata.prompt["query"]
    ours = {s.measure: s for s in our_scores(model, Retrieval(tmp_path, instruction=instruction))}
    for measure, name in {
        "nDCG@10": "ndcg_at_10",
        "recall@1": "recall_at_1",
        "recall@10": "recall_at_10",
        "recall@100": "recall_at_100",
    }.items():
        # mteb rounds to five places
        assert ours[measure].value == pytest.approx(theirs[name], abs=1e-5)
    assert 0 < ours["nDCG@10"].value < ours["recall@100"].value < 1
