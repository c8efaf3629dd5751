"""Stores of earlier versions: brought up to date, with their states, or refused."""

import shutil
import sqlite3

import pytest

from gritlite import FileError, FormatError, GritLM, UsageError
from gritlite.modelfile.fingerprint import is_sampled
from gritlite.rag import maintenance, migrations
from gritlite.rag.store import Store
from gritlite.rag.write_lock import write_lock
from tests.rag.documents import notes
from tests.rag.old_stores import know_model_by_sample, to_format_2, write_format_3


@pytest.fixture
def path(tmp_path, tiny_model):
    """A store of format 2 with states, which knows its model by a sample."""
    with Store.open(tmp_path / "a.grit", tiny_model, states="f16") as store:
        store.add(notes(tmp_path / "notes"))
    to_format_2(store.path)
    know_model_by_sample(store.path, tiny_model.identity.sampled())
    return store.path


def test_it_is_searched_and_keeps_its_states(path, tiny_model):
    for _ in range(2):
        with Store.open(path, tiny_model) as store:
            assert len(store.search("ferry", 9)) == 4
            assert store.settings.fingerprint == tiny_model.fingerprint
            assert is_sampled(store.settings.sampled_fingerprint)
            for passage in store.search("ferry", 9):
                state = store._states.load(passage.chunk, "doc", passage.embedded)
                assert state is not None
                assert state.model == tiny_model.fingerprint
    assert maintenance.verify(path) == []
    assert maintenance.info(path).states.states == 4


def test_another_model_is_refused(path, tiny_file):
    with GritLM(tiny_file("qwen2"), threads=1) as other:
        with pytest.raises(UsageError, match="made with another model"):
            Store.open(path, other)
        with pytest.raises(UsageError, match="made with another model"):
            Store.open(path, other)


def test_an_edit_that_the_sample_missed_is_refused_afterwards(path, tiny_path, tmp_path):
    """The sample is of the middle of each tensor; the last byte is not in it."""
    edited = tmp_path / "edited.gguf"
    shutil.copy(tiny_path, edited)
    with edited.open("r+b") as file:
        file.seek(-3, 2)
        byte = file.read(1)
        file.seek(-3, 2)
        file.write(bytes([byte[0] ^ 1]))
    with GritLM(tiny_path, threads=1) as model, GritLM(edited, threads=1) as other:
        assert model.identity.sampled() == other.identity.sampled()
        Store.open(path, model).close()
        with pytest.raises(UsageError, match="made with another model"):
            Store.open(path, other)
        with pytest.raises(UsageError, match="was not made by"):
            other.chat([{"role": "user", "content": "a"}], document=model.document_state("a"))


def test_two_processes_may_open_it_at_once(path, tiny_model, monkeypatch):
    """The lock is held while a store is brought up to date; another writer keeps it out."""
    monkeypatch.setattr(migrations, "_PATIENCE", 0.1)
    with write_lock(path), pytest.raises(FileError, match="another writer is adding"):
        Store.open(path, tiny_model)
    Store.open(path, tiny_model).close()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update setting set value = 'x' where name = 'states'", "settings are impossible"),
        ("delete from setting where name = 'model'", "has no settings"),
        ("update vector set vector = 'text' where chunk = 1", "vector of chunk 1"),
        ("update vector set vector = zeroblob(3) where chunk = 1", "vector of chunk 1"),
        ("update source set path = x'00' where id = 1", "a value has the wrong type"),
        ("update source set digest = 'text' where id = 1", "a value has the wrong type"),
    ],
)
def test_a_damaged_one_is_refused_or_found(path, tiny_model, statement, problem):
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(FormatError, match=problem), Store.open(path, tiny_model) as store:
        store.search("ferry")


@pytest.fixture
def format_3(tmp_path, tiny_model):
    """A store that was written by the last version before metadata, beside its documents."""
    notes(tmp_path / "notes")
    write_format_3(tmp_path / "old.grit", tiny_model)
    return tmp_path / "old.grit"


def test_one_without_metadata_is_searched_and_gets_some(format_3, tiny_model, tmp_path):
    assert [document.title for document in maintenance.documents(format_3)] == [
        *("boats", "The inn", "Cats"),
    ]
    with Store.open(format_3, tiny_model) as store:
        found = store.search("ferry", 9, mode="vectors")
        cosines = tiny_model.encode([each.embedded for each in found]) @ tiny_model.encode("ferry")
        assert [each.score for each in found] == pytest.approx(cosines.tolist(), abs=1e-3)
        assert len(found) == 4
        assert [each.metadata for each in found] == [{}] * 4
        assert store.search("ferry", 9, where={"author": {"$ne": "Smith"}})
        assert not store.search("ferry", 9, where={"author": "Smith"})
        assert store.add(tmp_path / "notes").changes.unchanged == 3  # nothing is embedded again
        store.add_texts(["Smith wrote this."], ids=["a"], metadata={"author": "Smith"})
        store.add(tmp_path / "notes" / "inn.md", metadata={"author": "Smith"})
        documents = {each.document for each in store.search("ferry", 9, where={"author": "Smith"})}
        assert documents == {"a", str(tmp_path / "notes" / "inn.md")}
    assert maintenance.verify(format_3) == []


def test_one_without_metadata_that_is_read_only(format_3, tiny_model):
    format_3.parent.chmod(0o500)
    try:
        with Store.open(format_3, tiny_model) as store:
            assert store.search("ferry", 1)[0].title
    finally:
        format_3.parent.chmod(0o700)


def test_a_document_that_was_damaged_before_stays_so(format_3, tiny_model):
    """Bringing a store up to date does not make a wrong row right."""
    with sqlite3.connect(format_3) as connection:
        connection.execute("update source set path = 'other.md' where path like '%inn.md'")
    connection.close()
    with Store.open(format_3, tiny_model) as store:
        with pytest.raises(FormatError, match=r"'other\.md' was changed"):
            store.search("inn", mode="words")
        assert store.search("ferry", 1, mode="words")
    (problem,) = maintenance.verify(format_3)
    assert "'other.md' was changed" in problem
