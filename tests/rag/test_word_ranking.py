"""The scores of words are BM25 with Lucene's weights, as a share of its maximum."""

import math
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gritlite.rag.database import Database
from gritlite.rag.folding import folded, query_terms
from gritlite.rag.word_ranking import MAX_RANKED, word_scores

TEXTS = [
    "the inn by the harbour was founded in 1850",
    "the tomatoes in the garden need the sun",
    "the ferry to the island is red, and the inn is not",
    "boats",
]


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "a.grit")
    yield opened
    opened.close()


def fill(database, texts):
    database.execute(
        "insert into source (id, path, digest, size, mtime_ns, read_ns)"
        " values (1, 'a', x'00', 0, 0, 0)"
    )
    database.execute_many(
        "insert into chunk values (?, 1, '', '', ?, '', 0, null, ?)",
        [(number, text, folded(text)) for number, text in enumerate(texts, 1)],
    )
    database.execute("update source set complete = 1")


def lucene(texts, query):
    """BM25 with k1 = 1.2, b = 0.75 over its limit, by the formula (BM25Similarity's javadoc)."""
    documents = [re.findall(r"\w+", text.lower()) for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    weights = {}
    for word in dict.fromkeys(query.split()):
        count = sum(word in document for document in documents)
        weights[word] = math.log(1 + (len(documents) - count + 0.5) / (count + 0.5))
    scores = {}
    for number, document in enumerate(documents, 1):
        score = 0.0
        for word, weight in weights.items():
            frequency = document.count(word)
            norm = frequency + 1.2 * (1 - 0.75 + 0.75 * len(document) / mean)
            score += weight * frequency / norm
        if score:
            scores[number] = score / sum(weights.values())
    return scores


@pytest.mark.parametrize(
    "query", ["inn", "the inn", "who founded the inn", "red boats sun", "zebra"]
)
def test_the_formula(database, query):
    fill(database, TEXTS)
    assert word_scores(database, query) == pytest.approx(lucene(TEXTS, query), rel=1e-6)


def test_rare_words_count_in_a_store_of_two_chunks(database):
    """SQLite's own bm25() gives "inn" and "the" the same weight here."""
    fill(database, TEXTS[:2])
    scores = word_scores(database, "who founded the inn")
    assert scores[1] > 2 * scores[2]


def test_a_text_that_is_the_query_covers_it_all(database):
    fill(database, ["zebra " * 200, "something else"])
    assert word_scores(database, "zebra")[1] > 0.98
    assert word_scores(database, "zebra unknown")[1] < 0.6


def test_common_words_are_left_out(database):
    fill(database, ["the rare word", *["the word"] * (MAX_RANKED + 1)])
    assert list(word_scores(database, "the rare word")) == [1]
    assert len(word_scores(database, "the")) == MAX_RANKED + 2


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_is_found_by_each_of_its_terms(database, text, other):
    assume("\x00" not in text)  # SQLite's strings end there; no document has one
    database.execute("delete from source")
    fill(database, [text, "something else"])
    for term in query_terms(text):
        assert 1 in word_scores(database, term.strip('" *'))
    assert all(0 < score < 1 for score in word_scores(database, text + other).values())
    database.execute("insert into words (words, rank) values ('integrity-check', 1)")


def test_texts_that_are_not_folded_are_read_as_others_are(database):
    plain = [chr(code) for code in range(1, 0x3000) if folded(f"a{chr(code)}b") is None]
    apart = [sign for sign in plain if not sign.isalnum()]
    assert len(apart) > 150
    fill(database, [f"a{sign}b" for sign in apart])
    assert len(word_scores(database, "a")) == len(word_scores(database, "b")) == len(apart)


def test_very_common_words_count_as_in_half_of_all_chunks(database, monkeypatch):
    texts = ["the rare word", *["the word"] * 6, "rare"]
    fill(database, texts)
    monkeypatch.setattr("gritlite.rag.word_ranking.MAX_RANKED", 2)
    monkeypatch.setattr("gritlite.rag.word_ranking.MAX_COUNTED", 4)
    scores = word_scores(database, "rare word")
    rare, common = math.log(1 + 6.5 / 2.5), math.log(1 + 4.5 / 4.5)
    alone = lucene(texts, "rare")
    assert scores == pytest.approx(
        {chunk: score * rare / (rare + common) for chunk, score in alone.items()}, rel=1e-6
    )
    assert word_scores(database, "the") == pytest.approx(lucene(texts, "the"), rel=1e-6)


@pytest.mark.parametrize("query", ["", "?!"])
def test_no_words(database, query):
    fill(database, TEXTS)
    assert word_scores(database, query) == {}
    assert word_scores(database, "inn")
