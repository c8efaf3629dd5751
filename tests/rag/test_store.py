"""The store: added documents are found, changes are noticed, no document is ever half there."""

import os
import shutil
import time

import numpy as np
import pytest

from gritlite import FileError, FormatError, GritLM
from gritlite.convert import convert
from gritlite.errors import EmptyTextError, InputError, InputTooLongError, UsageError
from gritlite.rag.database import Database
from gritlite.rag.search import WORDS_WEIGHT
from gritlite.rag.store import Store
from gritlite.rag.vectors import Matrix
from tests.rag.documents import notes, pdf
from tests.tiny import make_checkpoint


@pytest.fixture
def folder(tmp_path):
    return notes(tmp_path / "notes")


@pytest.fixture
def store(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, chunk_tokens=64) as opened:
        yield opened


def counts(update):
    changes = update.changes
    return changes.added, changes.changed, changes.unchanged, changes.removed


def meanwhile(monkeypatch, act):
    """Call `act` in the middle of the next search."""
    nearest = Matrix.nearest

    def interrupted(*arguments):
        monkeypatch.setattr(Matrix, "nearest", nearest)
        act()
        return nearest(*arguments)

    monkeypatch.setattr(Matrix, "nearest", interrupted)


def touch(path, text):
    """Write a file with an old modification time, which can be trusted."""
    path.write_text(text)
    os.utime(path, (1_600_000_000, 1_600_000_000 + len(text)))


def sources(store):
    """The texts that a search of the whole store finds, by file name."""
    passages = store.search("the cats and boats", 100, mode="vectors")
    found = {}
    for passage in passages:
        found.setdefault(passage.source.name, set()).add(passage.text)
    return found


def test_what_was_added_is_found(store, folder):
    assert counts(store.add(folder)) == (3, 0, 0, 0)
    (best, *_) = store.search("who founded the inn?", 3, mode="words")
    assert best.source == folder / "inn.md"
    assert (best.heading, best.place) == ("The inn", "line 3")
    assert best.text == "Mary Smith founded the inn in 1850."
    assert {passage.text for passage in store.search("ferry", 100)} == {
        "Mary Smith founded the inn in 1850.",
        "The blue room is cold.",
        "Boats leave the harbour at noon.\n\nThe ferry is red.",
        "Seven cats live in the old mill.",
    }


def test_vectors_are_those_of_encode(store, folder, tiny_model):
    store.add(folder)
    found = store.search("mill", 9, mode="vectors")
    texts = [f"{passage.heading}\n{passage.text}" for passage in found]
    cosines = tiny_model.encode(texts) @ tiny_model.encode("mill")
    assert [passage.score for passage in found] == pytest.approx(cosines.tolist(), abs=1e-5)


def test_the_second_time_only_changes_are_read(store, folder, monkeypatch):
    store.add(folder)
    assert counts(store.add(folder)) == (0, 0, 3, 0)
    touch(folder / "boats.txt", "The ferry is blue now.")
    (folder / "inn.md").unlink()
    (folder / "new.txt").write_text("A new text.")
    assert counts(store.add(folder)) == (1, 1, 1, 1)
    assert sources(store) == {
        "boats.txt": {"The ferry is blue now."},
        "cats.html": {"Seven cats live in the old mill."},
        "new.txt": {"A new text."},
    }
    assert not store.search("inn", mode="words")


def test_a_change_that_keeps_size_and_time_of_a_fresh_file_is_noticed(store, folder):
    path = folder / "boats.txt"
    fresh = (time.time_ns() + 60 * 10**9,) * 2  # however long the machine sleeps meanwhile
    path.write_text("one")
    os.utime(path, ns=fresh)
    store.add(folder)
    path.write_text("two")
    os.utime(path, ns=fresh)
    assert counts(store.add(folder)) == (0, 1, 2, 0)


def test_a_settled_file_is_not_read_again(store, folder, monkeypatch):
    touch(folder / "boats.txt", "The ferry.")
    store.add(folder)
    monkeypatch.setattr("gritlite.rag.scanning.snapshot", None)  # reading the file would fail
    assert counts(store.add(folder / "boats.txt")) == (0, 0, 1, 0)


def test_only_what_lay_in_the_named_folders_is_forgotten(store, folder, tmp_path):
    other = tmp_path / "notes2"
    shutil.copytree(folder, other)
    store.add(folder, other)
    (other / "inn.md").unlink()
    (folder / "inn.md").unlink()
    assert counts(store.add(other)) == (0, 0, 2, 1)
    assert counts(store.add(folder / "boats.txt")) == (0, 0, 1, 0)


def test_a_store_moves_with_its_files(store, folder, tmp_path, tiny_model):
    store.add(folder)
    store.close()
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(folder, moved / "notes")
    shutil.move(store.path, moved / "a.grit")
    with Store.open(moved / "a.grit", tiny_model) as again:
        assert again.search("cats")[0].source.exists()
        assert counts(again.add(moved / "notes")) == (0, 0, 3, 0)


def test_what_cannot_be_read_keeps_its_old_chunks(store, folder):
    (folder / "a.pdf").write_bytes(pdf(["The harbour master sleeps."]))
    store.add(folder)
    (folder / "a.pdf").write_bytes(b"%PDF-1.4 broken")
    update = store.add(folder)
    (failure,) = update.changes.failed
    assert "a.pdf is damaged" in failure
    assert counts(update) == (0, 0, 3, 0)
    assert sources(store)["a.pdf"] == {"The harbour master sleeps."}


def test_files_of_other_kinds_and_empty_ones_are_told(store, folder):
    (folder / "a.png").write_bytes(b"x")
    (folder / "b.PNG").write_bytes(b"x")
    (folder / "Makefile").write_bytes(b"x")
    (folder / ".hidden.txt").write_bytes(b"x")
    (folder / "empty.txt").write_text(" \n")
    update = store.add(folder)
    assert update.skipped == {".png": 2, "no suffix": 1}
    assert update.changes.empty == (folder / "empty.txt",)
    assert counts(store.add(folder)) == (0, 0, 4, 0)


@pytest.mark.parametrize(
    ("name", "error", "problem"),
    [("none", FileError, "does not exist"), ("a.png", FormatError, "has no supported format")],
)
def test_paths_that_cannot_be_added(store, tmp_path, name, error, problem):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(error, match=problem):
        store.add(tmp_path / name)


def test_an_old_version_is_searched_until_the_new_one_is_embedded(store, folder):
    store.add(folder)
    touch(folder / "boats.txt", "The ferry is blue now.")
    store.scan(folder)
    assert store.plan().pending.chunks == 1
    assert sources(store)["boats.txt"] == {"Boats leave the harbour at noon.\n\nThe ferry is red."}
    assert not store.search("blue now", mode="words")[1:]
    store.embed()
    assert store.plan().pending.chunks == 0
    assert sources(store)["boats.txt"] == {"The ferry is blue now."}


def test_a_change_taken_back_before_it_was_embedded(store, folder):
    store.add(folder)
    old = (folder / "boats.txt").read_text()
    touch(folder / "boats.txt", "The ferry is blue now.")
    store.scan(folder)
    touch(folder / "boats.txt", old)
    assert counts(store.add(folder)) == (0, 0, 3, 0)
    assert store.plan().pending.chunks == 0
    assert sources(store)["boats.txt"] == {"Boats leave the harbour at noon.\n\nThe ferry is red."}


def test_a_file_that_changes_twice_before_it_is_embedded(store, folder):
    store.scan(folder)
    touch(folder / "boats.txt", "The ferry is blue now.")
    store.scan(folder)
    touch(folder / "boats.txt", "The ferry is green now.")
    store.add(folder)
    assert sources(store)["boats.txt"] == {"The ferry is green now."}


@pytest.mark.parametrize("form", ["float32", "int8", "binary"])
def test_every_form_ranks_alike(tmp_path, tiny_model, folder, form):
    with Store.open(tmp_path / "a.grit", tiny_model, vectors=form) as store:
        store.add(folder)
        found = store.search("the red ferry", 4, mode="vectors")
    with Store.open(tmp_path / "b.grit", tiny_model) as store:
        store.add(folder)
        wanted = store.search("the red ferry", 4, mode="vectors")
    assert [p.text for p in found] == [p.text for p in wanted]
    assert np.allclose([p.score for p in found], [p.score for p in wanted], atol=0.005)


def test_nothing_is_found_in_an_empty_store(store):
    assert store.search("anything") == []


def test_hybrid_scores_are_the_means_of_both(store, folder):
    store.add(folder)
    scores = {
        mode: {passage.chunk: passage.score for passage in store.search("red inn", 9, mode=mode)}
        for mode in ("hybrid", "vectors", "words")
    }
    assert len(scores["words"]) == 3 < len(scores["vectors"]) == len(scores["hybrid"])
    assert scores["hybrid"] == pytest.approx(
        {
            chunk: (1 - WORDS_WEIGHT) * cosine + WORDS_WEIGHT * scores["words"].get(chunk, 0.0)
            for chunk, cosine in scores["vectors"].items()
        },
        abs=1e-6,
    )
    assert list(scores["hybrid"].values()) == sorted(scores["hybrid"].values(), reverse=True)


@pytest.mark.parametrize("form", ["float32", "int8", "binary"])
def test_what_words_alone_find_gets_its_cosine(tmp_path, tiny_model, folder, form, monkeypatch):
    """Of rankings of one passage each, the passages are compared by both scores."""
    monkeypatch.setattr("gritlite.rag.search._MIN_DEPTH", 1)
    with Store.open(tmp_path / "a.grit", tiny_model, vectors=form) as store:
        store.add(folder)
        whole = {passage.chunk: passage for passage in store.search("ferry", 9, mode="vectors")}
        (word,) = store.search("ferry", 1, mode="words")
        found = store.search("ferry", 1)
        wanted = (1 - WORDS_WEIGHT) * whole[word.chunk].score + WORDS_WEIGHT * word.score
        assert found[0].chunk == word.chunk
        assert found[0].score == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize("mode", ["hybrid", "vectors", "words"])
def test_passages_below_the_least_score_are_left_out(store, folder, mode):
    store.add(folder)
    every = store.search("the red inn", 9, mode=mode)
    least = every[1].score
    assert store.search("the red inn", 9, mode=mode, min_score=least) == every[:2]
    assert store.search("the red inn", 9, mode=mode, min_score=9.0) == []
    with pytest.raises(UsageError, match="min_score is nan: expected a number"):
        store.search("the red inn", min_score=float("nan"))


def test_a_full_disk_is_told_and_loses_nothing(store, folder, monkeypatch):
    store.add(folder)
    before = sources(store)
    (folder / "long.txt").write_text("Many words.\n\n" * 3_000)
    pages = store._database.execute("pragma page_count").fetchone()[0]

    class Full(Database):
        """A database on a disk with little room left."""

        def __init__(self, path):
            super().__init__(path)
            self.execute(f"pragma max_page_count = {pages + 8}")

    with monkeypatch.context() as patched:
        patched.setattr("gritlite.rag.migrations.Database", Full)
        with pytest.raises(FileError, match="the disk is full"):
            store.add(folder)
    assert sources(store) == before
    (folder / "long.txt").write_text("Fewer words.")
    store.add(folder)
    assert sources(store) == before | {"long.txt": {"Fewer words."}}


def test_vectors_are_read_anew_only_when_they_changed(store, folder):
    store.add(folder)
    store.search("inn")
    matrix = store._searcher._matrix
    store.search("inn")
    store.ask("inn?", layout="doc", max_tokens=2)
    assert store._searcher._matrix is matrix
    store.add(folder)
    store.search("inn")
    assert store._searcher._matrix is matrix
    (folder / "new.txt").write_text("A new text.")
    store.add(folder)
    assert len(store.search("inn", 9)) == 5


@pytest.mark.parametrize("form", ["float32", "binary"])
def test_a_search_sees_one_moment(tmp_path, tiny_model, folder, monkeypatch, form):
    """Another process deletes all that was found and reuses the rows for other texts."""
    path = tmp_path / "a.grit"
    with (
        Store.open(path, tiny_model, vectors=form) as store,
        Store.open(path, tiny_model) as other,
    ):
        store.add(folder)
        before = {passage.text for passage in store.search("ferry", 100)}

        def change():
            for file in folder.rglob("*.*"):
                file.unlink()
            (folder / "other.txt").write_text("Something else.")
            other.scan(folder)

        meanwhile(monkeypatch, change)
        assert {passage.text for passage in store.search("ferry", 100)} == before
        assert store.search("ferry", 100) == []
        other.embed()
        assert {passage.text for passage in store.search("ferry", 100)} == {"Something else."}


def test_a_named_file_that_is_gone_is_forgotten(store, folder):
    store.add(folder / "inn.md", folder / "boats.txt")
    (folder / "inn.md").unlink()
    assert counts(store.add(folder / "inn.md")) == (0, 0, 0, 1)
    assert sorted(sources(store)) == ["boats.txt"]
    with pytest.raises(FileError, match="does not exist"):
        store.add(folder / "inn.md")


def test_a_store_among_the_documents(folder, tiny_model):
    with Store.open(folder / "a.grit", tiny_model, states="q8_0") as store:
        store.add(folder)
        assert store.add(folder).skipped == {}


def test_a_name_that_is_no_text_is_told(store, folder):
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("Coffee.")
    update = store.add(folder)
    (failure,) = update.changes.failed
    assert "is not UTF-8: rename the file" in failure
    assert counts(update) == (3, 0, 0, 0)
    with pytest.raises(FileError, match="does not exist"):
        store.add(folder / os.fsdecode(b"caf\xe8.txt"))


def test_pages_without_text_are_told(store, folder):
    (folder / "scan.pdf").write_bytes(pdf(["The harbour master sleeps.", ""]))
    assert store.add(folder).changes.warnings == (f"{folder / 'scan.pdf'}: no text on page 2",)


def test_chunks_suit_a_small_context(tmp_path, folder):
    convert(make_checkpoint(tmp_path / "c", context=128), tmp_path / "small.gguf", "f32")
    with (
        GritLM(tmp_path / "small.gguf", threads=1) as small,
        Store.open(tmp_path / "b.grit", small) as store,
    ):
        (folder / "long.txt").write_text("a long walk " * 200)
        store.add(folder)
        assert store.settings.chunk_tokens == 64
        assert len(sources(store)["long.txt"]) > 2


@pytest.mark.parametrize("mode", ["words", "vectors", "hybrid"])
@pytest.mark.parametrize("query", ["", " ", "\n\t"])
def test_an_empty_query_is_refused(store, folder, mode, query):
    store.add(folder)
    with pytest.raises(EmptyTextError, match=r"^the query is empty"):
        store.search(query, mode=mode)
    with pytest.raises(EmptyTextError, match=r"^the query is empty"):
        store.ask(query, mode=mode)


@pytest.mark.parametrize("query", [None, 5, b"inn"])
def test_a_query_that_is_no_text_is_refused(store, folder, query):
    store.add(folder)
    with pytest.raises(InputError, match=r"^the query is .* instead of str"):
        store.search(query)


def test_a_query_that_is_too_long_is_called_a_query(store, folder):
    store.add(folder)
    for act in (store.search, store.ask):
        with pytest.raises(InputTooLongError, match=r"^the query: [\d,]+ tokens"):
            act("word " * 2000)
