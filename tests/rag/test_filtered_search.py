"""Searches among some documents: as many as there are, ranked and scored as among all."""

import random

import pytest

from gritlite.errors import UsageError
from gritlite.rag.answer import NO_ANSWER
from gritlite.rag.store import Store
from tests.rag.documents import notes

WORDS = ("inn", "ferry", "mill", "cat", "harbour", "room", "red", "old", "noon", "cold")
COUNT = 400


@pytest.fixture(scope="module", params=["float32", "int8", "binary"])
def store(request, tmp_path_factory, tiny_path):
    """Many short texts; every fortieth is rare, and each has a number."""
    from gritlite import GritLM

    choose = random.Random(3)
    path = tmp_path_factory.mktemp("filtered") / "a.grit"
    with (
        GritLM(tiny_path, threads=1) as model,
        Store.open(path, model, vectors=request.param) as opened,
    ):
        opened.add_texts(
            [" ".join(choose.choices(WORDS, k=6)) for _ in range(COUNT)],
            ids=[str(number) for number in range(COUNT)],
            metadata=[{"number": n, "rare": n % 40 == 0} for n in range(COUNT)],
        )
        yield opened


def ranking(store, count, mode, **options):
    found = store.search("the red ferry", count, mode=mode, **options)
    return [(passage.document, round(passage.score, 5)) for passage in found]


@pytest.mark.parametrize("mode", ["vectors", "words", "hybrid"])
@pytest.mark.parametrize("where", [{"rare": True}, {"number": {"$gte": 50, "$lt": 300}}])
def test_as_the_whole_ranking_without_the_others(store, mode, where):
    wanted = {document.id for document in store.documents(where)}
    whole = [each for each in ranking(store, COUNT, mode) if each[0] in wanted]
    assert len(whole) == len(wanted) or mode == "words"
    for count in (1, 5, COUNT):
        found = ranking(store, count, mode, where=where)
        if store.settings.vectors == "binary" and mode != "words":  # finds candidates by signs
            assert len(found) == min(count, len(wanted))
            assert set(found) <= set(whole)
        else:
            assert sorted(found, key=order) == sorted(whole[:count], key=order)
            assert [score for _, score in found] == [score for _, score in whole[:count]]


def order(found):
    document, score = found
    return -score, document


def test_what_one_document_fulfils(store):
    for mode in ("vectors", "hybrid"):
        (found,) = store.search("cold harbour", 5, mode=mode, where={"number": 123})
        assert (found.document, found.metadata["number"]) == ("123", 123)
    assert store.search("cold", where={"number": -1}) == []
    assert store.search("cold", where={"none": {"$in": []}}) == []
    assert len(store.search("cold", 500, mode="vectors", where={})) == COUNT


def test_a_wrong_condition(store):
    with pytest.raises(UsageError, match=r"expected one of \$eq"):
        store.search("cold", where={"number": {"$like": 5}})
    with pytest.raises(UsageError, match="in place of a condition"):
        store.ask("cold?", where="number = 5")


@pytest.fixture
def documents(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model) as opened:
        folder = notes(tmp_path / "notes")
        opened.add(folder / "inn.md", metadata={"author": "Smith", "year": 1850})
        opened.add(folder / "boats.txt", folder / "more", metadata={"author": "Jones"})
        yield opened


def found(store, **where):
    return {passage.source.name for passage in store.search("ferry", 9, where=where)}


def test_files_have_metadata_and_keep_it(documents, tmp_path):
    assert found(documents, author="Smith") == {"inn.md"}
    (tmp_path / "notes" / "inn.md").write_text("# The inn\n\nThe ferry ended there.\n")
    documents.add(tmp_path / "notes")
    assert found(documents, author="Smith", year=1850) == {"inn.md"}
    assert found(documents, author="Jones") == {"boats.txt", "cats.html"}
    update = documents.add(tmp_path / "notes" / "inn.md", metadata={"author": "Jones"})
    assert (update.changes.metadata_changed, update.changes.unchanged) == (1, 0)
    assert found(documents, author="Jones") == {"boats.txt", "cats.html", "inn.md"}
    assert found(documents, year=1850) == set()
    with pytest.raises(UsageError, match="'author' is list"):
        documents.add(tmp_path / "notes", metadata={"author": ["Smith"]})


def test_a_ghost_is_left_out_of_a_filtered_search(documents, tmp_path):
    (tmp_path / "notes").rename(tmp_path / "moved")
    documents.add(tmp_path / "moved", metadata={"author": "Jones"})
    assert len(documents.search("ferry", 9, where={"author": "Jones"})) == 4
    ghosts = documents.search("ferry", 9, where={"author": {"$ne": "Jones"}})
    assert ghosts == []  # only inn.md's, and it is at another place now


def test_answers_from_some_documents(documents):
    answer = documents.ask("ferry?", 9, min_score=0, max_tokens=2, where={"author": "Smith"})
    assert {passage.source.name for passage in answer.passages} == {"inn.md"}
    answer = documents.ask("ferry?", min_score=0, where={"author": "nobody"})
    assert (answer.text, answer.passages, answer.best_score) == (NO_ANSWER, [], None)
