"""Multiple choice: the likeliest choice by llama.cpp's own logits, and files of both forms."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import FormatError, InputTooLongError
from gritlite.eval.multiple_choice import (
    MultipleChoice,
    MultipleChoiceQuestion,
    read_multiple_choice,
)
from tests.reference import loaded, logits, tokenize

ROWS = [
    {"question": " What is a vector? ", "choices": ["a list of numbers", "fog"], "answer": 0},
    {"question": "Predators eat", "choices": ["lions", "humans", "bunnies", "grass"], "answer": 2},
    {"question": "Where is fog?", "choices": ["a marsh", "the plains of a desert"], "answer": 0},
    {"question": "When?", "choices": ["yesterday", "in the nineteenth century"], "answer": 1},
]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def no_progress(done: int, count: int) -> None:
    assert 0 <= done <= count


def likelihoods(path: Path, question: str, choices: list[str]) -> np.ndarray:
    """Log-probabilities of the choices behind the prompt, by llama.cpp."""
    found = []
    with loaded(path) as model:
        before = tokenize(model, f"Question: {question}\nAnswer:")
        for choice in choices:
            ids = before + tokenize(model, f" {choice}", add_special=False)
            rows = logits(model, ids).astype(np.float64)
            rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
            places = range(len(before), len(ids))
            found.append(sum(rows[place - 1, ids[place]] for place in places))
    return np.array(found)


def test_the_likeliest_choice(tiny_path: Path, tmp_path: Path) -> None:
    """With every row's answer set to what llama.cpp finds likeliest, all are right."""
    rows, by_length = [], []
    for row in ROWS:
        found = likelihoods(tiny_path, row["question"].strip(), row["choices"])
        lengths = [len(choice) for choice in row["choices"]]
        rows.append({**row, "answer": int(found.argmax())})
        by_length.append({**row, "answer": int((found / lengths).argmax())})
    assert rows != by_length
    differing = sum(a != b for a, b in zip(rows, by_length, strict=True))
    with GritLM(tiny_path, threads=1) as model:
        plain, normalized = MultipleChoice(write(tmp_path / "a.jsonl", rows)).run(
            model, no_progress
        )
        assert (plain.measure, plain.value, plain.count) == ("accuracy", 1.0, 4)
        assert (normalized.measure, normalized.value) == (
            "accuracy by length",
            1 - differing / 4,
        )
        plain, normalized = MultipleChoice(write(tmp_path / "b.jsonl", by_length)).run(
            model, no_progress
        )
        assert (plain.value, normalized.value) == (1 - differing / 4, 1.0)
        assert plain.task == normalized.task == "choice b.jsonl"
        assert plain.note == "4 of 4 questions"


def test_a_limit_is_spread_evenly(tiny_model: GritLM, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    task = MultipleChoice(write(tmp_path / "a.jsonl", ROWS), limit=2)
    scores = task.run(tiny_model, lambda done, count: seen.append((done, count)))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert scores[0].note == "2 of 4 questions"
    assert [question.question for question in task._questions] == [
        "What is a vector?",
        "Where is fog?",
    ]


def test_both_forms(tmp_path: Path) -> None:
    lettered = [
        {"question": "At a what?", "options": "\nA. bank\nB. library \nC. a U.S. mall\nor\nD. x",
         "answer": "C. a U.S. mall\nor"},
        {"question": "The ", "options": "A. one\nB. two", "answer": "A. one"},
    ]  # fmt: skip
    path = write(tmp_path / "a.jsonl", [*lettered, ROWS[1]])
    assert read_multiple_choice(path) == [
        MultipleChoiceQuestion(
            f"{path}, line 1", "At a what?", ("bank", "library", "a U.S. mall\nor", "x"), 2
        ),
        MultipleChoiceQuestion(f"{path}, line 2", "The", ("one", "two"), 0),
        MultipleChoiceQuestion(
            f"{path}, line 3", "Predators eat", ("lions", "humans", "bunnies", "grass"), 2
        ),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (3, "expected an object with a question"),
        ({"choices": ["a", "b"], "answer": 0}, "expected an object with a question"),
        ({"question": "Q", "choices": ["a"], "answer": 0}, "expected two choices or more"),
        ({"question": "Q", "choices": ["a", " "], "answer": 0}, "a text that is not blank"),
        ({"question": "Q", "choices": ["a", "b"], "answer": 2}, "the answer is 2: .* 0 to 1"),
        ({"question": "Q", "choices": ["a", "b"], "answer": "a"}, "the answer is 'a'"),
        ({"question": "Q", "choices": ["a", "b"]}, "the answer is None"),
        ({"question": "Q", "options": "A. a\nB. b"}, "expected options and answer, each a text"),
        ({"question": "Q", "options": "a\nb", "answer": "a"}, "options that begin with A., B."),
        ({"question": "Q", "options": "A. a\nC. b", "answer": "A. a"}, "begin with A., B."),
        ({"question": "Q", "options": "A. a\nB. b", "answer": "B. a"}, "none of the options"),
        ({"question": "Q", "options": "A. a\nB. b", "answer": ""}, "none of the options"),
        ({"question": "Q", "options": "A. a", "answer": "A. a"}, "expected two choices or more"),
    ],
)
def test_rows_of_another_form(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(FormatError, match=rf"a\.jsonl, line 2: .*{message}"):
        MultipleChoice(write(tmp_path / "a.jsonl", [ROWS[0], row]))


def test_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no question"):
        MultipleChoice(write(tmp_path / "a.jsonl", []))


def test_a_question_longer_than_the_context(tiny_file: Callable[..., Path], tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ROWS[0], {**ROWS[1], "question": "why " * 400}])
    with (
        GritLM(tiny_file("llama-head-dim"), threads=1, context_length=256) as model,
        pytest.raises(InputTooLongError, match=r"a\.jsonl, line 2: \d+ tokens to score"),
    ):
        MultipleChoice(path).run(model, no_progress)
