"""Retrieval: three forms of collections, and what is measured on them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite.errors import FileError, FormatError, InputError
from gritlite.eval.beir import read_beir
from gritlite.eval.cranfield import read_cranfield
from gritlite.eval.retrieval import Retrieval
from gritlite.eval.squad_retrieval import read_squad_collection

DOCUMENTS = """<doc>
<docno>1</docno>
<title>wings .</title>
<text>wings .
  a wing in a
slipstream .</text>
</doc>
<doc>
<docno>2</docno>
<title></title>
<text></text>
</doc>
<doc><docno>3</docno><text>plates .</text></doc>
"""
QUERIES = """<?xml version='1.0' encoding='utf-8' standalone='yes'?>
<xml>
<top><num> 4</num><title>
what wings
fly
</title></top>
<top><num> 1</num><title>
what is a plate
</title></top>
</xml>
"""
JUDGEMENTS = "1 0 1 1\r\n1 0 2 1\r\n\r\n2 0 3 1\r\n2 0 1 0\r\n"


@pytest.fixture
def cranfield(tmp_path: Path) -> Path:
    folder = tmp_path / "cranfield"
    folder.mkdir()
    (folder / "cran.all.1400.xml").write_text(DOCUMENTS)
    (folder / "cran.qry.xml").write_text(QUERIES)
    (folder / "cranqrel.trec.txt").write_text(JUDGEMENTS)
    return folder


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "sets"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": "T" if i == 0 else "", "text": f"t{i}"} for i in range(12)]
    lines = [json.dumps(document) + "\n" for document in corpus]
    (folder / "corpus.jsonl").write_text("".join(lines))
    queries = [{"_id": f"q{i}", "text": f"ask {i}"} for i in range(3)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries))
    (folder / "qrels/test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td11\t2\nq2\td5\t1\nq2\tlost\t1\nq2\td6\t0\n"
    )
    return folder


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    def question(name: str, *answers: str) -> dict[str, Any]:
        return {"id": name, "question": f"{name}?", "answers": [{"text": a} for a in answers]}

    paragraphs = [
        {"context": "one two", "qas": [question("a", "one", "one"), question("b", "two")]},
        {"context": "three", "qas": [question("c")]},
        {"context": "one two", "qas": [question("d", "one")]},
    ]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return path


def test_cranfield_goes_by_position(cranfield: Path) -> None:
    found = read_cranfield(cranfield)
    assert found.documents == {"1": "wings . a wing in a slipstream .", "2": "", "3": "plates ."}
    assert found.queries == {"1": "what wings fly", "2": "what is a plate"}
    assert found.judgements == {"1": {"1": 1, "2": 1}, "2": {"3": 1, "1": 0}}


def test_squad_asks_for_paragraphs(squad: Path) -> None:
    found = read_squad_collection(squad)
    assert found.documents == {"paragraph 1": "one two", "paragraph 2": "three"}
    assert found.queries == {"a": "a?", "b": "b?", "d": "d?"}
    assert found.judgements == {name: {"paragraph 1": 1} for name in "abd"}
    assert found.note == "questions without an answer left out: 1"


def test_beir_takes_the_judged_queries(beir: Path) -> None:
    found = read_beir(beir)
    assert found.documents["d0"] == "T t0"
    assert found.documents["d1"] == "t1"
    assert found.queries == {"q0": "ask 0", "q2": "ask 2"}
    assert found.judgements == {"q0": {"d0": 1, "d11": 2}, "q2": {"d5": 1, "lost": 1, "d6": 0}}


def test_measures_are_means_over_queries(beir: Path, chosen: Any, steps: Any) -> None:
    # documents at growing angles; ask 0 looks along the first, ask 2 along the last
    angles = np.linspace(0, 1.5, 12)
    vectors = {f"t{i}": [math.cos(a), math.sin(a)] for i, a in enumerate(angles)}
    vectors |= {"T t0": vectors["t0"], "ask 0": vectors["t0"], "ask 2": vectors["t11"]}
    encoder = chosen(vectors)
    scores = Retrieval(beir, instruction="words").run(encoder, steps)
    # q0 finds d0 (1) first and d11 (2) twelfth; q2 finds d5 (1) seventh and never the lost one
    first = 1 / (2 + 1 / math.log2(3))
    second = (1 / math.log2(8)) / (1 + 1 / math.log2(3))
    assert {score.measure: score.value for score in scores} == {
        "nDCG@10": pytest.approx((first + second) / 2),
        "recall@1": 0.25,
        "recall@10": 0.5,
        "recall@100": 0.75,
    }
    assert {(s.task, s.count, s.note) for s in scores} == {("retrieval sets", 2, "12 documents")}
    assert encoder.instructions["ask 0"] == "words"
    assert encoder.instructions["t5"] == ""
    assert steps.seen[-1] == (14, 14)


def test_a_limit_takes_queries_and_leaves_documents(beir: Path, chosen: Any, steps: Any) -> None:
    vectors = {f"t{i}": [1, i] for i in range(12)} | {"T t0": [1, 0], "ask 0": [1, 0]}
    scores = Retrieval(beir, limit=1).run(chosen(vectors), steps)
    assert {score.count for score in scores} == {1}
    assert steps.seen[-1] == (13, 13)


def test_documents_without_text_cannot_be_found(cranfield: Path, chosen: Any, steps: Any) -> None:
    vectors = {
        "wings . a wing in a slipstream .": [1, 0],
        "what wings fly": [1, 0],
        "plates .": [0, 1],
        "what is a plate": [0, 1],
    }
    scores = {s.measure: s for s in Retrieval(cranfield).run(chosen(vectors), steps)}
    assert scores["recall@10"].value == 0.75
    assert scores["recall@10"].note == "2 documents, 1 more without text left out"


def test_an_empty_query_is_named(beir: Path, chosen: Any, steps: Any) -> None:
    (beir / "queries.jsonl").write_text('{"_id": "q0", "text": ""}\n{"_id": "q2", "text": "x"}\n')
    vectors = {f"t{i}": [1, i] for i in range(12)} | {"T t0": [1, 0]}
    with pytest.raises(InputError, match="sets, query q0: empty"):
        Retrieval(beir).run(chosen(vectors), steps)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("corpus.jsonl", '{"_id": "a"\n', "corpus.jsonl, line 1: not JSON"),
        ("corpus.jsonl", "\n[]\n", "corpus.jsonl, line 2: not a JSON object"),
        ("corpus.jsonl", '{"text": "a"}\n', "line 1: no _id"),
        ("corpus.jsonl", '{"_id": "a", "text": 1}\n', "line 1: the title or the text is not"),
        ("corpus.jsonl", '{"_id": "a"}\n{"_id": "a"}\n', "line 2: the _id 'a' appears twice"),
        ("corpus.jsonl", '{"_id": "a", "text": " "}\n', "no document has a text"),
        ("queries.jsonl", '{"_id": "q0", "text": "a"}\n', "judges the query 'q2', which"),
        ("qrels/test.tsv", "head\nq0\td0\n", "test.tsv, line 2: expected query-id, corpus-id"),
        ("qrels/test.tsv", "head\nq0\td0\tx\n", "test.tsv, line 2: expected query-id, corpus-id"),
        ("qrels/test.tsv", "head\n", "test.tsv: has no judgements"),
    ],
)
def test_bad_beir_files(beir: Path, file: str, content: str, problem: str) -> None:
    (beir / file).write_text(content)
    with pytest.raises(FormatError, match=problem):
        Retrieval(beir)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("cran.all.1400.xml", DOCUMENTS + "<doc>\n", "cran.all.1400.xml, line 15: not XML"),
        ("cran.qry.xml", "<xml/>", "judges 2 queries, numbered by position, but .* holds 0"),
        ("cranqrel.trec.txt", "1 0 1 1\n1 0\n", "cranqrel.trec.txt, line 2: expected query"),
    ],
)
def test_bad_cranfield_files(cranfield: Path, file: str, content: str, problem: str) -> None:
    (cranfield / file).write_text(content)
    with pytest.raises(FormatError, match=problem):
        Retrieval(cranfield)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{\n"data": [,]}', "squad.json, line 2: not JSON"),
        ("[]", "not in SQuAD's form"),
        ('{"data": []}', "holds no question"),
        ('{"data": [{"paragraphs": [{"context": 1, "qas": [{}]}]}]}', "not in SQuAD's form"),
    ],
)
def test_bad_squad_files(squad: Path, content: str, problem: str) -> None:
    squad.write_text(content)
    with pytest.raises(FormatError, match=problem):
        Retrieval(squad)


def test_ids_of_questions_differ(squad: Path) -> None:
    squad.write_text(squad.read_text().replace('"d"', '"a"'))
    with pytest.raises(FormatError, match="two questions have the same id"):
        Retrieval(squad)


def test_other_paths(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a known collection"):
        Retrieval(tmp_path)
    with pytest.raises(FileError, match="does not exist"):
        Retrieval(tmp_path / "none")
