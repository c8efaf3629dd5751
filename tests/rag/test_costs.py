"""What is cheapest, from what was measured."""

import pytest

from gritlite.rag.costs import Costs, cheapest
from gritlite.rag.database import Database
from gritlite.rag.store import Store
from tests.rag.documents import notes

QUESTION = "Who founded the inn?"


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "a.grit")
    yield opened
    opened.close()


def test_a_cost_follows_what_is_measured(database):
    costs = Costs(database)
    assert costs.seconds("read", 100) is None
    costs.note("read", 31, 5.0)  # too few to tell
    assert costs.seconds("read", 100) is None
    costs.note("read", 200, 1.0)
    assert costs.seconds("read", 100) == pytest.approx(0.5)
    costs.note("read", 100, 1.0)
    assert costs.seconds("read", 100) == pytest.approx(0.75)
    assert costs.seconds("load", 100) is None
    assert Costs(database).seconds("read", 100) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("load", "read", "anew", "layout"),
    [
        (None, None, 0, "exact"),
        (None, 1.0, 0, "exact"),
        (0.1, 1.0, 0, "exact"),
        (1.0, 0.1, 0, "document-then-query"),
        (0.4, 1.0, 500, "exact"),
        (0.4, 1.0, 700, "document-then-query"),
    ],
)
def test_the_cheapest(database, load, read, anew, layout):
    costs = Costs(database)
    for work, seconds in (("load", load), ("read", read)):
        if seconds is not None:
            costs.note(work, 1000, seconds)
    assert cheapest(costs, 1000, anew) == layout


def test_auto_reads_where_no_states_are_kept(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model) as store:
        store.add(notes(tmp_path / "notes"))
        assert asked(store).layout == "document-then-query"


def test_auto_keeps_states_and_measures_until_it_knows(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, states="q8_0", chunk_tokens=64) as store:
        (tmp_path / "long.txt").write_text("The inn was founded by Ada Brown in 1850. " * 4)
        store.add(tmp_path / "long.txt")
        first, second = asked(store), asked(store)
        assert (first.layout, first.states_computed) == ("exact", 2)
        assert (second.layout, second.states_loaded) == ("exact", 2)
        costs = store._costs
        assert costs.seconds("read", 1) > 0
        assert costs.seconds("load", 1) > 0
        for work, seconds in (("load", 1e6), ("read", 1e-6)):  # a disk slower than any
            costs.note(work, 1000, seconds)
        assert asked(store).layout == "document-then-query"


def asked(store):
    return store.ask(QUESTION, 2, layout="auto", max_tokens=3)
