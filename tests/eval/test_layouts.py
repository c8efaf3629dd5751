"""The paper's table: what is counted, what is timed, and what each layout is asked."""

import json

import pytest

from gritlite.errors import FormatError
from gritlite.eval import latency, layouts
from gritlite.eval.exact_match import match
from gritlite.eval.layouts import Variant, variants
from gritlite.eval.questions import read_answerable
from gritlite.rag.layouts import LAYOUTS

ROWS = [
    {"passage": "Mary Smith founded the inn.", "question": "Who founded it?", "answer": "Mary"},
    {"passage": "The ferry is red.", "question": "What is red?", "answer": ["The ferry", "it"]},
    {"passage": "The ferry is red.", "question": "Which colour?", "answer": "red"},
]


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    return read_answerable(path)


def nothing(done, count):
    assert 0 <= done <= count


def test_json_lines(questions):
    assert [question.answers for question in questions] == [
        ("Mary",),
        ("The ferry", "it"),
        ("red",),
    ]
    assert questions[1].paragraph == "The ferry is red."


@pytest.mark.parametrize(
    "row",
    ["[]", '{"passage": "a", "question": "b"}', '{"passage": 1, "question": "", "answer": ""}'],
)
def test_other_rows(tmp_path, row):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + row)
    with pytest.raises(FormatError, match="line 2"):
        read_answerable(path)


def test_a_file_without_answers(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({**ROWS[0], "answer": []}))
    with pytest.raises(FormatError, match="no question has an answer"):
        read_answerable(path)


@pytest.mark.parametrize(
    ("answer", "accepted", "found"),
    [
        ("It was founded by Mary Smith.", "mary smith", True),
        ("It was the Mary-Smith inn", "Mary", False),
        ("Rosemary", "Mary", False),
        ("the ferry", "a ferry", True),
        ("", "Mary", False),
    ],
)
def test_match(answer, accepted, found):
    assert match(answer, accepted) is found


def test_the_variants():
    found = list(variants(["query", "doc", "exact"], ["q8_0", "q4_0"], [0, 8]))
    assert found[0] == Variant("query")
    assert len(found) == 1 + 2 * 2 * 2
    assert found[-1] == Variant("exact", "q4_0", 8)


def test_every_variant_answers_every_question(tiny_model, questions):
    chosen = list(variants(LAYOUTS, ["f16", "q4_0"], [0]))
    found = layouts.measure(tiny_model, questions, chosen, passages=1, limit=None, progress=nothing)
    assert [each.variant for each in found] == chosen
    by_variant = {each.variant: each for each in found}
    for each in found:
        assert each.questions == 3
        assert 0 < each.ttft <= each.total
        uses = each.variant.numbers is not None
        assert bool(each.bytes) == bool(each.states_a_second) == uses
    for layout in ("doc", "exact"):
        small, large = (by_variant[Variant(layout, numbers)].bytes for numbers in ("q4_0", "f16"))
        assert small < 0.7 * large  # heads included
    exact, full = (
        by_variant[each] for each in (Variant("exact", "f16"), Variant("document-then-query"))
    )
    assert (exact.exact_match, exact.match, exact.f1) == (full.exact_match, full.match, full.f1)


def test_answers_are_scored(tiny_model, questions, monkeypatch):
    """The first accepted answer that suits counts; here every answer is the same words."""

    class Told:
        text = "It is the ferry"
        states_loaded = states_computed = 0
        timings = layouts.Timings(1.0, 1.5, 2.0, 4.0)

    monkeypatch.setattr(layouts, "from_stored", lambda _: Told)
    (found,) = layouts.measure(
        tiny_model, questions, [Variant("query")], passages=1, limit=None, progress=nothing
    )
    assert (found.exact_match, found.match) == (0, 1 / 3)
    assert found.f1 == pytest.approx((0 + 2 / 4 + 0) / 3)
    assert (found.ttft, found.total) == (1.0, 3.0)


def test_the_long_samples(tiny_model):
    words = ["red", "boats", "leave", "the", "old", "harbour"]
    found = latency.samples(tiny_model, words, 200)
    assert list(found) == ["document", "query"]
    for text in (found["document"].document, found["query"].query):
        assert 195 <= len(tiny_model.tokenize(text)) <= 200
    chosen = list(variants(["document-then-query", "query", "exact", "doc"], ["q8_0"], [0]))
    for sample in found.values():
        seconds = latency.measure(tiny_model, sample, chosen, nothing)
        assert list(seconds) == chosen
        assert all(0 < each.ttft <= each.total for each in seconds.values())
