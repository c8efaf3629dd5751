"""Sets to choose models by: what is held out, and nothing that is trained on or tested with."""

import csv
import random
from pathlib import Path

import dev
import held_out
import papers
import pytest
from material import Inputs
from more_readings import more_readings

from gritlite.eval.labelled_texts import read_labelled
from gritlite.eval.questions import read_questions
from gritlite.eval.squad import read_squad
from tests.recipes.samples import make_data, make_packages


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    data = make_data(tmp_path / "data")
    with (data / "eval/banking77/train.csv").open("w", newline="") as file:
        rows = [(f"where is card {n}?", "card" if n % 3 else "fee") for n in range(40)]
        csv.writer(file).writerows([("text", "category"), *rows])
    return Inputs(data, make_packages(tmp_path / "packages"))


def test_about_one_text_in_twenty_is_held_out_by_its_words() -> None:
    texts = [f"The bridge number {n} was opened." for n in range(4000)]
    chosen = [text for text in texts if held_out.is_held_out(text)]
    assert 150 < len(chosen) < 250
    assert all(held_out.is_held_out(text.lower().replace(" ", "  ")) for text in chosen)


@pytest.mark.parametrize("one_in", [1, 2, 3])
def test_what_is_held_out_is_not_trained_on(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch, one_in: int
) -> None:
    monkeypatch.setattr(held_out, "ONE_IN", one_in)
    trained, kept = (
        {(question, answer) for _, question, answer in more_readings(inputs, random.Random(1), **o)}
        for o in ({}, {"held_out": True})
    )
    assert not trained & kept
    monkeypatch.setattr(held_out, "ONE_IN", 10**15)
    assert trained | kept == {
        (question, answer) for _, question, answer in more_readings(inputs, random.Random(1))
    }


def test_eval_reads_the_sets(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "ONE_IN", 1)
    dev.write(inputs, tmp_path / "dev")
    readings = read_squad(tmp_path / "dev/readings.json")
    assert {"1932", "1955"} <= {question.answers[0] for question in readings}
    assert all(question.answers[0] in question.paragraph for question in readings)
    abstracts = read_squad(tmp_path / "dev/papers.json")
    assert "On Stones (a)" in {question.text for question in abstracts}
    for name in ("readings", "papers"):  # planted are texts of the test sets
        assert "secret" not in (tmp_path / f"dev/{name}.json").read_text()
    passages = len({question.paragraph for question in readings})
    several = read_questions(tmp_path / "dev/several.jsonl")
    assert [question.text for question in several] == [question.text for question in readings]
    for one, own in zip(several, readings, strict=True):
        assert own.paragraph in one.passages
        assert len(set(one.passages)) == len(one.passages) == min(3, passages)
    hops = read_questions(tmp_path / "dev/hops.jsonl")  # the other question is trained on
    assert [(question.text, question.passages) for question in hops] == [
        ("What is ice?", ("Ice is water.", "Water is wet."))
    ]
    assert list(papers.papers(inputs, random.Random(1))) == []
    train, test = (
        {entry.text for entry in read_labelled(tmp_path / f"dev/banking77/{name}.csv")}
        for name in ("train", "test")
    )
    assert (len(train), len(test)) == (36, 4)
    assert not train & test
