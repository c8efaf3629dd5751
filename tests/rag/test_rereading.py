"""Documents that an older version of the reader read are read again, once."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gritlite.rag import chunking, scanning, sources
from gritlite.rag.chunking import Chunk
from gritlite.rag.formats import READER
from gritlite.rag.store import Store
from tests.rag.documents import notes


def cut_badly(*arguments) -> Iterator[Chunk]:
    """An older version, which lost what follows a harbour."""
    for chunk in chunking.cut(*arguments):
        text = chunk.text.partition(" harbour")[0]
        yield replace(chunk, text=text, embedded=chunk.embedded.replace(chunk.text, text))


@pytest.fixture
def store(tmp_path, tiny_model, monkeypatch):
    with Store.open(tmp_path / "a.grit", tiny_model) as opened:
        with monkeypatch.context() as older:
            for module in (scanning, sources):
                older.setattr(module, "READER", READER - 1)
            older.setattr(scanning, "cut", cut_badly)
            opened.add(notes(tmp_path / "notes"))
        yield opened


def vectors(store) -> dict[int, bytes]:
    with sqlite3.connect(store.path) as database:
        found = dict(database.execute("select chunk, vector from vector"))
    database.close()
    return found


def test_what_is_read_differently_is_embedded_again_and_nothing_else(store, tmp_path):
    before = vectors(store)
    assert not store.search("harbour", mode="words")
    changes = store.add(tmp_path / "notes").changes
    assert (changes.changed, changes.unchanged) == (1, 2)
    assert "Boats leave the harbour" in store.search("harbour", mode="words")[0].text
    after = vectors(store)
    assert len(after) == len(before)
    assert len(after.items() & before.items()) == len(before) - 1
    changes = store.add(tmp_path / "notes").changes
    assert (changes.changed, changes.unchanged) == (0, 3)


def test_a_document_that_can_no_longer_be_read_stays(store, tmp_path):
    path = tmp_path / "notes" / "boats.txt"
    path.write_bytes(bytes(100))
    changes = store.add(tmp_path / "notes").changes
    assert [str(path) in failure for failure in changes.failed] == [True]
    assert store.search("boats", mode="words")[0].text == "Boats leave the"
