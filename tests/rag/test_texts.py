"""Texts that are no files: added, replaced, listed, found, removed, and left alone by scans."""

from pathlib import Path

import pytest

from gritlite.errors import ClosedError, FileError, InputError, UsageError
from gritlite.rag import maintenance
from gritlite.rag.store import Store
from tests.rag.documents import notes

FERRY = "The ferry is red.\n\nIt leaves at noon."
MILL = "Seven cats live in the old mill."


@pytest.fixture
def store(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, chunk_tokens=64, states="f16") as opened:
        yield opened
        assert maintenance.verify(opened.path) == []


def texts(store):
    """The passages that can be found, by the ids of their documents."""
    found = {}
    for passage in store.search("cats and boats", 100, mode="vectors"):
        found.setdefault(passage.document, []).append(passage.text)
    return found


def counts(update):
    return update.added, update.changed, update.unchanged


def test_a_text_is_found_as_a_file_with_its_words(store, tmp_path):
    (tmp_path / "ferry.txt").write_text(FERRY)
    store.add(tmp_path / "ferry.txt")
    update = store.add_texts([FERRY, MILL], ids=["ferry", "mill"])
    assert (update.ids, counts(update), update.empty) == (("ferry", "mill"), (2, 0, 0), ())
    passages = store.search("ferry", 9, mode="words")
    assert {passage.text for passage in passages} == {FERRY}
    (of_text,) = (passage for passage in passages if passage.source is None)
    assert (of_text.document, of_text.place, of_text.heading) == ("ferry", "line 1", "")
    assert of_text.embedded == FERRY
    assert not of_text.gone


def test_vectors_are_those_of_encode(store, tiny_model):
    store.add_texts([FERRY, MILL], metadata=[{"title": "The  boats"}, {"title": 5}])
    found = store.search("mill", 9, mode="vectors")
    assert {passage.embedded for passage in found} == {f"The boats\n{FERRY}", MILL}
    assert {passage.title for passage in found} == {"The boats", ""}
    cosines = tiny_model.encode([passage.embedded for passage in found]) @ tiny_model.encode("mill")
    assert [passage.score for passage in found] == pytest.approx(cosines.tolist(), abs=1e-5)


def test_another_text_of_an_id_replaces_it_and_the_same_does_nothing(store, monkeypatch):
    store.add_texts([FERRY, MILL], ids=["a", "b"])
    assert counts(store.add_texts(["The ferry is blue.", MILL], ids=["a", "b"])) == (0, 1, 1)
    assert texts(store) == {"a": ["The ferry is blue."], "b": [MILL]}
    before = store.state_usage()
    monkeypatch.setattr(store.model, "encode_stream", None)  # embedding anything would fail
    monkeypatch.setattr("gritlite.rag.contents.embed_pending", lambda *_: None)
    assert counts(store.add_texts(["The ferry is blue.", MILL], ids=["a", "b"])) == (0, 0, 2)
    assert store.state_usage() == before


def test_an_old_text_is_found_until_the_new_one_is_embedded(store, monkeypatch):
    store.add_texts([FERRY], ids=["a"], metadata={"edition": 1})
    with monkeypatch.context() as patched:
        patched.setattr("gritlite.rag.contents.embed_pending", lambda *_: None)
        assert counts(store.add_texts([MILL], ids=["a"], metadata={"edition": 2})) == (0, 1, 0)
        assert texts(store) == {"a": [FERRY]}
        assert store.search("ferry", where={"edition": 1})
        assert not store.search("ferry", where={"edition": 2})
        (document,) = store.documents()
        assert (document.metadata, document.complete) == ({"edition": 2}, False)
        assert counts(store.add_texts([MILL], ids=["a"])) == (0, 1, 0)
        patched.undo()
        assert counts(store.add_texts([FERRY], ids=["a"])) == (0, 0, 1)  # taken back
    assert store.plan().pending.chunks == 0
    assert texts(store) == {"a": [FERRY]}
    assert store.documents()[0].metadata == {"edition": 1}


def test_ids_are_made_of_the_texts(store):
    update = store.add_texts([FERRY, MILL, FERRY])
    assert update.ids[0] == update.ids[2] != update.ids[1]
    assert counts(update) == (2, 0, 0)
    assert counts(store.add_texts([MILL])) == (0, 0, 1)
    assert len(store.documents()) == 2


def test_a_text_without_words_is_kept_without_passages(store):
    update = store.add_texts(["", " \n", MILL], ids=["a", "b", "c"])
    assert update.empty == ("a", "b")
    assert [(each.id, each.chunks, each.complete) for each in store.documents()] == [
        ("a", 0, True),
        ("b", 0, True),
        ("c", 1, True),
    ]


def test_no_texts(store):
    assert counts(store.add_texts([])) == (0, 0, 0)


def test_metadata_is_kept_replaced_and_removed(store):
    def kept():
        return [(passage.metadata, passage.title) for passage in store.search("ferry", 1)]

    values = {"author": "Ärger", "year": 1850, "share": 0.5, "draft": False, "old": True}
    store.add_texts([FERRY], ids=["a"], metadata=[values])
    assert kept() == [(values, "")]
    (metadata,) = (passage.metadata for passage in store.search("ferry", 1))
    assert {name: type(value) for name, value in metadata.items()} == {
        name: type(value) for name, value in values.items()
    }
    store.add_texts([FERRY], ids=["a"])
    assert kept() == [(values, "")]
    assert store.add_texts([FERRY], ids=["a"], metadata=values).unchanged == 1
    update = store.add_texts([FERRY], ids=["a"], metadata={"year": True})
    assert (update.changed, update.metadata_changed, update.unchanged) == (0, 1, 0)
    assert store.search("ferry", where={"year": True})
    assert not store.search("ferry", where={"year": 1})
    store.add_texts([FERRY], ids=["a"], metadata={"year": 1})
    assert store.search("ferry", where={"year": 1})
    store.add_texts([MILL], ids=["a"])
    assert store.documents()[0].metadata == {"year": 1}
    store.add_texts([MILL], ids=["a"], metadata={"title": "Mills"})
    assert kept() == [({"title": "Mills"}, "Mills")]
    assert store.search("ferry", 1)[0].embedded == f"Mills\n{MILL}"
    store.add_texts([MILL], ids=["a"], metadata=[{}])
    assert kept() == [({}, "")]


def test_a_scan_leaves_texts_alone(store, tmp_path):
    """Also those whose id is the name of a file in the folder, or of one that is gone."""
    folder = notes(tmp_path / "notes")
    store.add(folder)
    store.add_texts([FERRY, MILL, "A new text."], ids=["notes/inn.md", "notes/gone.md", "inn.md"])
    (folder / "inn.md").unlink()
    update = store.add(folder)
    assert (update.changes.unchanged, update.changes.removed) == (2, 1)
    assert [each.id for each in store.documents()] == [
        *(str(folder / "boats.txt"), str(folder / "more" / "cats.html")),
        *("inn.md", "notes/gone.md", "notes/inn.md"),
    ]
    assert {"notes/inn.md", "notes/gone.md", "inn.md"} < set(texts(store))
    assert not store.condition().gone
    assert store.condition().documents == 5


def test_documents_of_both_kinds_are_listed(store, tmp_path):
    folder = notes(tmp_path / "notes")
    store.add(folder, metadata={"kind": "note"})
    store.add_texts([MILL], ids=["mill"], metadata={"title": "The mill"})
    *files, text = store.documents()
    assert [(each.path, each.root, each.title) for each in files] == [
        (folder / "boats.txt", folder, "boats"),
        (folder / "inn.md", folder, "The inn"),
        (folder / "more" / "cats.html", folder, "Cats"),
    ]
    assert [each.chunks for each in files] == [1, 2, 1]
    assert {each.metadata["kind"] for each in files} == {"note"}
    assert (text.id, text.path, text.root, text.gone) == ("mill", None, None, False)
    assert (text.title, text.bytes, text.chunks) == ("The mill", len(MILL), 1)
    assert text.modified_ns == text.read_ns > files[0].read_ns
    assert maintenance.documents(store.path) == [*files, text]
    assert store.documents({"kind": "note"}) == files
    assert store.documents(where={"title": {"$ne": "The mill"}}) == files
    with pytest.raises(UsageError, match="operator"):
        store.documents({"kind": {"$like": "n"}})


def test_texts_and_files_are_removed(store, tmp_path):
    folder = notes(tmp_path / "notes")
    store.add(folder)
    store.add_texts([FERRY, MILL, MILL], ids=["ferry", "mill", str(folder / "inn.md")])
    with pytest.raises(FileError, match=r"no text 'none' and no document .*none, and none inside"):
        store.remove("ferry", "none")
    assert "ferry" in texts(store)
    (removed,) = store.remove("ferry")
    assert (removed.target, removed.documents) == ("ferry", 1)
    store.remove(str(folder / "inn.md"))  # an id is meant first
    assert str(folder / "inn.md") in texts(store)
    assert all(each.path for each in store.documents() if each.id == str(folder / "inn.md"))
    store.remove(folder / "inn.md")
    removed = store.remove(*(each.id for each in store.documents()), "mill")
    assert [each.documents for each in removed] == [1, 1, 1]
    assert (texts(store), store.documents(), store.state_usage().states) == ({}, [], 0)
    assert not list(tmp_path.rglob("*.kv"))


def test_a_path_never_means_a_text(store):
    store.add_texts([FERRY], ids=["ferry"])
    with pytest.raises(FileError, match="has no document"):
        store.remove(Path("ferry"))


def test_an_answer_comes_from_a_text_and_its_state(store):
    store.add_texts([FERRY], ids=["ferry"])
    answer = store.ask("When does the ferry leave?", layout="doc", max_tokens=3, min_score=0)
    assert (answer.states_loaded, answer.states_computed) == (1, 0)
    assert [passage.document for passage in answer.passages] == ["ferry"]
    assert store.names(answer.passages) == ["ferry"]


def test_a_text_stays_where_a_file_with_its_bytes_is_gone(store, tmp_path):
    """A file that is gone is left out where another file is the same, but a text is no copy."""
    (tmp_path / "ferry.txt").write_text(FERRY)
    store.add(tmp_path / "ferry.txt")
    store.add_texts([FERRY], ids=["ferry"])
    (tmp_path / "ferry.txt").unlink()
    assert {(passage.document, passage.gone) for passage in store.search("ferry", 9)} == {
        ("ferry", False),
        (str(tmp_path / "ferry.txt"), True),
    }


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({"texts": FERRY}, UsageError, "texts is a str"),
        ({"texts": [MILL, 5]}, InputError, "text 2: int instead of str"),
        ({"texts": ["\ud800"]}, InputError, "text 1: it holds half of a character"),
        ({"texts": [MILL], "ids": "a"}, UsageError, "ids is a str"),
        ({"texts": [MILL], "ids": ["a", "b"]}, UsageError, "ids has 2 items for 1 texts"),
        ({"texts": [MILL, FERRY], "ids": ["a", "a"]}, UsageError, "the id 'a' is given twice"),
        ({"texts": [MILL], "ids": [5]}, UsageError, "5 is no id"),
        ({"texts": [MILL], "ids": [" "]}, UsageError, "' ' is no id"),
        ({"texts": [MILL], "ids": ["a\n"]}, UsageError, "is no id"),
        ({"texts": [MILL], "ids": ["\ud800"]}, UsageError, "is no id"),
        ({"texts": [MILL], "metadata": [{}, {}]}, UsageError, "metadata has 2 items for 1 texts"),
        ({"texts": [MILL], "metadata": ["a"]}, UsageError, "metadata is str: expected a mapping"),
        ({"texts": [MILL], "metadata": {"": 1}}, UsageError, "metadata has the name ''"),
        ({"texts": [MILL], "metadata": {"$in": 1}}, UsageError, r"does not begin with \$"),
        ({"texts": [MILL], "metadata": {"a": None}}, UsageError, "expected str, int, float or"),
        ({"texts": [MILL], "metadata": {"a": float("inf")}}, UsageError, "'a' is inf"),
        ({"texts": [MILL], "metadata": {"a": 2**64}}, UsageError, "integer of 64 bits"),
        ({"texts": [MILL], "metadata": {"a": "\udfff"}}, UsageError, "expected Unicode"),
    ],
)
def test_what_cannot_be_added(store, arguments, error, problem):
    with pytest.raises(error, match=problem):
        store.add_texts(**arguments)
    assert store.documents() == []


def test_a_closed_store_says_so(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model) as opened:
        pass
    for use in (lambda: opened.search("a"), opened.documents, opened.condition):
        with pytest.raises(ClosedError, match=r"a\.grit is closed: open it again"):
            use()


def test_what_things_are(store):
    store.add_texts(["The ferry is red. " * 10], ids=["ferry"])
    assert repr(store) == (
        f"<Store {store.path}: vectors of {store.model.path.name} in float32, states in f16>"
    )
    (passage,) = store.search("ferry", 1, mode="words")
    assert repr(passage).startswith("<Passage ferry:1, score 0.")
    assert repr(passage).endswith(
        ": 'The ferry is red. The ferry is red. The ferry is red. The f…'>"
    )
    answer = store.ask("ferry?", min_score=2)
    assert repr(answer) == ("<StoreAnswer from 0 passages, stop: 'The documents do not tell.'>")
