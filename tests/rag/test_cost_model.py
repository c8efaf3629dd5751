"""The cost model: measurements, and the layout that they make cheapest."""

import pytest

from gritlite.rag.cost_model import CostModel, cheapest
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
    costs = CostModel(database)
    assert costs.seconds("read", 100) is None
    costs.record("read", 31, 5.0)  # too few tokens to count
    assert costs.seconds("read", 100) is None
    costs.record("read", 200, 1.0)
    assert costs.seconds("read", 100) == pytest.approx(0.5)
    costs.record("read", 100, 1.0)
    assert costs.seconds("read", 100) == pytest.approx(0.75)
    assert costs.seconds("load", 100) is None
    assert CostModel(database).seconds("read", 100) == pytest.approx(0.75)


TWO = [(400, True), (600, True)]


@pytest.mark.parametrize(
    ("load", "read", "passages", "recompute", "layout"),
    [
        (None, None, TWO, 0, "exact"),  # nothing is known: try
        (None, 1.0, TWO, 0, "exact"),
        (0.1, 1.0, TWO, 0, "exact"),
        (1.0, 0.1, TWO, 0, "document-then-query"),
        (0.1, 1.0, [(400, False), (600, False)], 0, "exact"),  # for the next question
        (0.6, 1.0, TWO, 300, "exact"),
        (0.6, 1.0, TWO, 500, "document-then-query"),
        (0.6, 1.0, TWO, 10_000, "document-then-query"),
        (0.6, 1.0, [(400, True), (600, False)], 500, "document-then-query"),
        (0.1, 1.0, [(400, False)], 10_000, "exact"),  # of one passage nothing is read again
        (None, 1.0, [(10, False), (600, False)], 10_000, "document-then-query"),
    ],
)
def test_the_cheapest(database, load, read, passages, recompute, layout):
    costs = CostModel(database)
    for work, seconds in (("load", load), ("read", read)):
        if seconds is not None:
            costs.record(work, 1000, seconds)
    assert cheapest(costs, passages, recompute) == layout


def test_what_was_too_slow_is_tried_again(database):
    costs = CostModel(database)
    costs.record("read", 1000, 1.0)
    costs.record("load", 1000, 1.5)
    chosen = [cheapest(costs, TWO, 0) for _ in range(10)]
    assert chosen[0] == "document-then-query"
    assert chosen[-1] == "exact"


def test_auto_reads_where_no_states_are_kept(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model) as store:
        store.add(notes(tmp_path / "notes"))
        assert asked(store).layout == "document-then-query"


def test_auto_keeps_states_and_measures_until_it_knows(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, states="q8_0", chunk_tokens=64) as store:
        (tmp_path / "long.txt").write_text("The inn was founded by Ada Brown in 1850. " * 4)
        store.add(tmp_path / "long.txt")
        first, second = asked(store), asked(store)
        assert (first.layout, first.states_computed) == ("exact", 1)
        assert (second.layout, second.states_loaded) == ("exact", 1)
        costs = store._cost_model
        assert costs.seconds("read", 1) > 0
        assert costs.seconds("load", 1) > 0
        for work, seconds in (("load", 1e6), ("read", 1e-6)):  # a disk slower than any
            costs.record(work, 1000, seconds)
        assert asked(store).layout == "document-then-query"


def test_without_measurements_auto_takes_states_where_they_are_kept(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, states="q8_0", measures=False) as store:
        store.add(notes(tmp_path / "notes"))
        for work, seconds in (("load", 1e6), ("read", 1e-6)):
            store._cost_model.record(work, 1000, seconds)
        assert [asked(store).layout for _ in range(2)] == ["exact", "exact"]


def test_auto_reads_behind_a_chats_past(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, states="q8_0") as store:
        store.add(notes(tmp_path / "notes"))
        past = [{"role": "system", "content": "Be brief."}]
        answer = store.ask(QUESTION, history=past, layout="auto", max_tokens=2)
        assert answer.layout == "document-then-query"


def test_what_the_cells_hold_costs_nothing_and_tells_nothing(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model) as store:
        (tmp_path / "long.txt").write_text("The inn was founded by Ada Brown in 1850. " * 6)
        store.add(tmp_path / "long.txt")
        store.ask(QUESTION, 1, layout="document-then-query", max_tokens=1)
        store.ask(QUESTION, 1, layout="exact", max_tokens=1)
        assert store._cost_model.seconds("read", 1) is None


def asked(store):
    return store.ask(QUESTION, 2, layout="auto", max_tokens=3)
