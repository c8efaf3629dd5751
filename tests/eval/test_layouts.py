"""The paper's table: what is counted and timed, and how each layout is asked."""

import json

import pytest

from gritlite.errors import FormatError, UsageError
from gritlite.eval import latency, layouts
from gritlite.eval.exact_match import match
from gritlite.eval.layouts import Variant, variants
from gritlite.eval.questions import answerable, read_questions
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
    return read_questions(path)


@pytest.fixture
def asked(tiny_model, questions):
    """Run variants on the questions and return their outcomes."""

    def run(chosen, passages=1):
        paragraphs = [question.paragraph for question in questions]
        with layouts.indexed(tiny_model, paragraphs, chosen, nothing) as stores:
            return layouts.measure(stores, questions, chosen, passages=passages, progress=nothing)

    return run


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
    [
        "[]",
        '{"passage": "a", "question": "b"}',
        '{"passage": 1, "question": "", "answer": ""}',
        '{"passage": [], "question": "a", "answer": "b"}',
        '{"passage": ["a", 1], "question": "a", "answer": "b"}',
    ],
)
def test_other_rows(tmp_path, row):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + row)
    with pytest.raises(FormatError, match="line 2"):
        read_questions(path)


def test_a_file_without_answers(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({**ROWS[0], "answer": []}))
    with pytest.raises(FormatError, match="no question has an answer"):
        answerable(read_questions(path), path)


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


def test_a_passage_that_is_no_text(tiny_model):
    with (
        pytest.raises(FormatError, match="passage 1 is not valid text"),
        layouts.indexed(tiny_model, ["\ud800"], [Variant("query")], nothing),
    ):
        pass


def test_the_variants():
    ways = (["query", "doc", "doc-query", "exact"], ["q8_0", "q4_0"], [0, 8])
    found = list(variants(*ways, passages=3))
    assert found[0] == Variant("query")
    assert len(found) == 1 + 3 * 2 * 2
    assert found[-1] == Variant("exact", "q4_0", 8)
    alone = list(variants(*ways, passages=1))  # nothing is joined but the question
    assert [each.recompute for each in alone if each.layout == "doc-query"] == [0, 8, 0, 8]
    assert len(alone) == 1 + 2 + 4 + 2


def test_every_variant_answers_every_question(asked):
    chosen = list(variants(LAYOUTS, ["f16", "q4_0"], [0], 1))
    found = asked(chosen)
    assert [each.variant for each in found] == chosen
    by_variant = {each.variant: each for each in found}
    for each in found:
        assert each.questions == 3
        assert 0 < each.ttft <= each.total
        uses = each.variant.state_type is not None
        assert bool(each.state_bytes) == bool(each.states_a_second) == uses
    for layout in ("doc", "exact"):
        small, large = (
            by_variant[Variant(layout, state_type)].state_bytes for state_type in ("q4_0", "f16")
        )
        assert small < 0.7 * large  # heads included


def test_nothing_is_held_of_the_question_before(asked, tiny_model):
    """Even one variant alone reads the same passage again for each question."""
    before = tiny_model.evaluated
    (found,) = asked([Variant("document-then-query")], passages=2)
    longest = 2 * max(len(tiny_model.tokenize(row["passage"])) for row in ROWS)
    assert found.questions == 3
    assert tiny_model.evaluated - before > 3 * longest


def test_answers_are_scored(asked, monkeypatch):
    """The best of the accepted answers counts. Here every answer is the same text."""

    class Told:
        text = "It is the ferry"
        states_loaded = states_computed = 0
        timings = layouts.Timings(1.0, 1.5, 2.0, 4.0)

    monkeypatch.setattr(layouts, "answer_from_store", lambda *_, **__: Told)
    (found,) = asked([Variant("query")])
    assert (found.exact_match, found.match) == (0, 1 / 3)
    assert found.f1 == pytest.approx((0 + 2 / 4 + 0) / 3)
    assert (found.ttft, found.total) == (1.0, 3.0)


def test_the_question_is_searched_for_as_it_is_and_worded_where_it_is_read(
    tiny_model, asked, monkeypatch
):
    said = []
    ask = layouts.Store.ask

    def noted(store, question, *rest, **options):
        answer = ask(store, question, *rest, **options)
        tokens = answer.answer.tokens[: answer.answer.prompt_tokens]
        said.append((question, b"".join(map(tiny_model.engine.vocabulary.piece, tokens)).decode()))
        return answer

    monkeypatch.setattr(layouts.Store, "ask", noted)
    asked([Variant("document-then-query")])
    for (question, read), row in zip(said, ROWS, strict=True):
        assert question == row["question"]
        assert f"{question}\nAnswer with a few words from the text.\n\n" in read


def test_the_long_samples(tiny_model):
    words = ["red", "boats", "leave", "the", "old", "harbour"]
    found = latency.samples(tiny_model, words, 200)
    assert list(found) == ["document", "query"]
    for text in (found["document"].document, found["query"].query):
        assert 195 <= len(tiny_model.tokenize(text)) <= 200
    chosen = list(variants(["document-then-query", "query", "exact", "doc"], ["q8_0"], [0], 1))
    for sample in found.values():
        seconds = latency.measure(tiny_model, sample, chosen, nothing)
        assert list(seconds) == chosen
        assert all(0 < each.ttft <= each.total for each in seconds.values())


def test_a_sample_that_the_model_cannot_hold(tiny_model):
    most = min(tiny_model.max_length // 2 - 32, tiny_model.context_length - 256)
    with pytest.raises(UsageError, match=f"can be timed with {most:,}"):
        latency.samples(tiny_model, ["word"], most + 1)
