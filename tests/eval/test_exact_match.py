"""Exact match: SQuAD's own rules, one wording for three ways to give the passage."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from gritlite import GritLM
from gritlite.errors import FormatError, InputTooLongError, UsageError
from gritlite.eval.exact_match import ExactMatch, Passages, exact_match, f1
from gritlite.runtime.state import DocumentState, State, joined

PASSAGES = (
    "The inn was founded by Ada Brown in 1850.",
    "The mill has nine rooms and a garden.",
)
QUESTIONS = (
    ("Who founded the inn?", ["Ada Brown", "by Ada Brown"]),
    ("When was it founded?", ["1850"]),
    ("How many rooms has the mill?", ["nine", "nine rooms"]),
    ("Who owns it?", []),
)
WORDING = "\nAnswer with a few words from the text."
CACHED = "\n\nAnswer the prior query while optionally using the context prior to it"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two passages with two questions each, the last without an answer."""
    path = tmp_path / "squad.json"
    path.write_text(squad(PASSAGES, QUESTIONS), "utf-8")
    return path


def squad(passages: Sequence[str], questions: Sequence[tuple[str, list[str]]]) -> str:
    """Questions in SQuAD's form, two to a passage."""
    made = [
        {
            "id": f"q{number}",
            "question": question,
            "answers": [{"text": text, "answer_start": 0} for text in answers],
        }
        for number, (question, answers) in enumerate(questions)
    ]
    paragraphs = [
        {"context": passage, "qas": made[2 * number : 2 * number + 2]}
        for number, passage in enumerate(passages)
    ]
    return json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}], "version": "1.1"})


class Told:
    """A model that gives the answers it was told, and notes what it was asked."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.options: list[dict[str, Any]] = []
        self.states: list[str] = []

    def chat(self, messages: Sequence[dict[str, str]], **options: Any) -> str:
        (message,) = messages
        assert message["role"] == "user"
        self.asked.append(message["content"])
        self.options.append(options)
        return self.answers.pop(0)

    def document_state(self, text: str) -> DocumentState:
        self.states.append(text)
        return DocumentState((7,) * len(self.states), 1, "bidirectional", "told", False, b"")

    def join_states(self, states: Sequence[DocumentState]) -> State:
        return joined(states, bos=0, recompute=0)


def no_progress(done: int, count: int) -> None:
    assert 0 <= done <= count


@pytest.mark.parametrize(
    ("answer", "accepted", "matches", "overlap"),
    [
        ("Ada Brown", "Ada Brown", True, 1.0),
        (" the  ADA-Brown.\n", "AdaBrown", True, 1.0),
        ("An inn, a mill; the theatre", "inn mill theatre", True, 1.0),
        ("Ada", "Ada Brown", False, 2 / 3),
        ("It was Ada Brown", "Ada Brown", False, 2 * 0.5 * 1 / 1.5),
        ("nine nine", "nine", False, 2 * 0.5 * 1 / 1.5),
        ("Bob", "Ada Brown", False, 0.0),
        ("", "Ada", False, 0.0),
        ("café", "cafe", False, 0.0),
        ("1,850", "1850", True, 1.0),
    ],
)
def test_the_rules_of_squad(answer: str, accepted: str, matches: bool, overlap: float) -> None:
    """Worked by hand after evaluate-v1.1.py."""
    assert exact_match(answer, accepted) == matches
    assert f1(answer, accepted) == pytest.approx(overlap)


def test_scores(path: Path) -> None:
    told = Told(["By Ada Brown!", "in 1850", "two"])
    scores = ExactMatch(path).run(told, no_progress)  # type: ignore[arg-type]
    assert [(score.measure, score.count) for score in scores] == [("exact match", 3), ("F1", 3)]
    assert scores[0].value == pytest.approx(1 / 3)
    assert scores[1].value == pytest.approx((1 + 2 / 3) / 3)
    for score in scores:
        assert score.task == "exact match, passage: prompt squad.json"
        assert score.note == "3 of 3 questions; 1 without an answer left out"


def test_one_wording_three_ways(path: Path) -> None:
    asked = [question + WORDING for question, answers in QUESTIONS if answers]
    passages = [PASSAGES[0], PASSAGES[0], PASSAGES[1]]
    expected = {
        "none": asked,
        "prompt": [
            f"{passage}\n\n{text}{CACHED}" for passage, text in zip(passages, asked, strict=True)
        ],
        "state": asked,  # which the chat words as CACHED does
    }
    assert set(expected) == set(get_args(Passages))
    for way, messages in expected.items():
        told = Told([""] * 3)
        ExactMatch(path, passages=way).run(told, no_progress)  # type: ignore[arg-type]
        assert told.asked == messages
        greedy = {"temperature": 0, "max_tokens": 32}
        if way == "state":
            assert told.states == list(PASSAGES)  # once each
            documents = [options.pop("document").tokens for options in told.options]
            assert documents == [1, 1, 2]
        else:
            assert told.states == []
            assert [options.pop("document") for options in told.options] == [None] * 3
        assert told.options == [greedy] * 3


def test_several_passages(tmp_path: Path) -> None:
    rows = [
        {"passage": list(PASSAGES), "question": "Who?", "answer": "Ada Brown"},
        {"passage": PASSAGES[1], "question": "How many?", "answer": ["nine", "9"]},
    ]
    path = tmp_path / "several.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    told = Told(["ada brown", "9"])
    scores = ExactMatch(path, passages="state").run(told, no_progress)  # type: ignore[arg-type]
    assert scores[0].value == 1
    assert told.states == [*PASSAGES, PASSAGES[1]]
    assert [options["document"].tokens for options in told.options] == [3, 3]
    told = Told([""] * 2)
    ExactMatch(path).run(told, no_progress)  # type: ignore[arg-type]
    assert told.asked[0].startswith("\n\n".join(PASSAGES) + "\n\nWho?")


@pytest.mark.parametrize("way", get_args(Passages))
def test_with_a_model(tiny_model: GritLM, path: Path, way: Passages) -> None:
    seen: list[tuple[int, int]] = []
    task = ExactMatch(path, passages=way, limit=2)
    scores = task.run(tiny_model, lambda done, count: seen.append((done, count)))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert [score.value for score in scores] == [0, 0]  # its weights are random
    assert scores[0].note == "2 of 3 questions; 1 without an answer left out"


def test_a_passage_longer_than_the_context(tiny_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "squad.json"
    path.write_text(squad([PASSAGES[0], "long " * 100], QUESTIONS), "utf-8")
    with GritLM(tiny_path, threads=1, context_length=256) as model:
        for way in ("prompt", "state"):
            with pytest.raises(InputTooLongError, match=r"question q2: .* the context holds 256"):
                ExactMatch(path, passages=way).run(model, no_progress)


def test_refusals(path: Path) -> None:
    with pytest.raises(UsageError, match=r"passages is 'both': expected one of \('none', "):
        ExactMatch(path, passages="both")  # type: ignore[arg-type]
    path.write_text(squad(PASSAGES[:1], QUESTIONS[3:]), "utf-8")
    with pytest.raises(FormatError, match="no question has an answer"):
        ExactMatch(path)
