"""Tasks told in words: before half of the queries, and never before a passage."""

import random

from instructions import SHARE, WORDINGS, alike, asked

ROWS = [{"query": f"question {n}", "pos": [f"passage {n}"], "score": 1.0} for n in range(400)]


def test_half_of_the_queries_are_told_a_task() -> None:
    made = list(asked(ROWS, "passage", random.Random(1)))
    told = [row["query"][0] for row in made if isinstance(row["query"], list)]
    assert 0.4 < len(told) / len(ROWS) / SHARE / 2 < 0.6
    assert set(told) == set(WORDINGS["passage"])
    for row, plain in zip(made, ROWS, strict=True):
        query = row["query"][-1] if isinstance(row["query"], list) else row["query"]
        assert row | {"query": query} == plain


def test_texts_that_are_compared_are_told_the_same() -> None:
    for row in alike(ROWS, "intent", random.Random(1)):
        if isinstance(row["query"], list):
            assert [text[0] for text in row["pos"]] == [row["query"][0]]
        else:
            assert isinstance(row["pos"][0], str)


def test_no_wording_is_that_of_two_tasks() -> None:
    every = [wording for wordings in WORDINGS.values() for wording in wordings]
    assert len(every) == len(set(every))
