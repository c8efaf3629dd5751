"""Stores that keep the first numbers of vectors only: less to keep, and the same search."""

import sqlite3

import pytest

from gritlite import Store
from gritlite.errors import UsageError

TEXTS = [f"The {number} birds sing in tree {number % 7}." for number in range(40)]
QUERY = "Which birds sing in tree 3?"


@pytest.fixture
def store(sized_model, tmp_path):
    with Store.open(tmp_path / "small.grit", sized_model, dimensions=16) as opened:
        opened.add_texts(TEXTS)
        yield opened


def test_it_keeps_and_searches_so_many_numbers(store, sized_model):
    with sqlite3.connect(store.path) as database:
        sizes = {len(row[0]) for row in database.execute("select vector from vector")}
    assert sizes == {4 * 16}
    query = sized_model.encode(QUERY, dimensions=16)
    cosines = sized_model.encode(TEXTS, dimensions=16) @ query
    found = store.search(QUERY, 5, mode="vectors")
    assert [passage.text for passage in found] == [TEXTS[i] for i in (-cosines).argsort()[:5]]
    assert found[0].score == pytest.approx(cosines.max(), abs=1e-5)


def test_it_is_opened_again_as_it_was_made(store, sized_model):
    found = store.search(QUERY, 5)
    for asked in (None, 16):
        with Store.open(store.path, sized_model, dimensions=asked) as again:
            assert again.search(QUERY, 5) == found
    with pytest.raises(UsageError, match="was made with dimensions 16, which cannot be changed"):
        Store.open(store.path, sized_model, dimensions=64)


def test_a_query_whose_vector_is_known_may_be_whole(store, sized_model):
    whole = sized_model.encode(QUERY)
    assert store.search(QUERY, 5, vector=whole) == store.search(QUERY, 5)


def test_a_store_of_all_dimensions_is_as_before(sized_model, tmp_path):
    with Store.open(tmp_path / "a.grit", sized_model) as store:
        store.add_texts(TEXTS)
    with Store.open(tmp_path / "a.grit", sized_model, dimensions=64) as again:
        assert again.search(QUERY)
    with pytest.raises(UsageError, match="was made with dimensions 64"):
        Store.open(tmp_path / "a.grit", sized_model, dimensions=8)


def test_a_size_that_the_model_was_not_trained_for(sized_model, tmp_path):
    with pytest.raises(UsageError, match="this model was trained for 8, 16 and 64"):
        Store.open(tmp_path / "a.grit", sized_model, dimensions=12)
    assert not (tmp_path / "a.grit").exists()
