"""Opening a store: its settings, files that are not stores, and damaged ones."""

import sqlite3

import numpy as np
import pytest

from gritlite import FileError, FormatError, GritLM, UsageError
from gritlite.errors import GritLiteError
from gritlite.rag import database, maintenance
from gritlite.rag.database import Database
from gritlite.rag.store import Store
from tests.rag.documents import notes
from tests.sample_gguf import write_model


@pytest.fixture
def folder(tmp_path):
    return notes(tmp_path / "notes")


@pytest.fixture
def store(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model, chunk_tokens=64) as opened:
        yield opened


def test_a_store_of_another_model_is_refused(store, tiny_file):
    with (
        GritLM(tiny_file("qwen2"), threads=1) as other,
        pytest.raises(UsageError, match="made with another model"),
    ):
        Store.open(store.path, other)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"vectors": "int8"}, "made with vectors float32, which cannot be changed"),
        ({"chunk_tokens": 128}, "made with chunk_tokens 64"),
        ({"chunk_tokens": 8}, "expected 32 to"),
        ({"vectors": "int4"}, "expected one of"),
        ({"states": "q4_0"}, "made with states none"),
        ({"states": "q5_0"}, "expected none, f16, q8_0 or q4_0"),
        ({"states_budget": 0}, "expected 1 byte or more"),
    ],
)
def test_settings_stay(store, tiny_model, options, problem):
    with pytest.raises(UsageError, match=problem):
        Store.open(store.path, tiny_model, **options)


def test_files_that_are_no_stores(tmp_path, tiny_model):
    path = tmp_path / "b.grit"
    with pytest.raises(FileError, match="does not exist: make it"):
        Store.open(path, tiny_model, create=False)
    with pytest.raises(FileError, match="is not a file"):
        Store.open(tmp_path, tiny_model)
    with pytest.raises(FileError, match=r"the folder .* does not exist"):
        Store.open(tmp_path / "none" / "b.grit", tiny_model)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(FormatError, match="is not a store, or is damaged"):
        Store.open(path, tiny_model)
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("create table t (x)")
    other.close()
    with pytest.raises(FormatError, match="not a store of gritlite"):
        Store.open(path, tiny_model)


def test_a_newer_format_is_refused(store, tiny_model):
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(FormatError, match="format 99, but this gritlite reads up to 4: update"):
        Store.open(store.path, tiny_model)


def test_opening_and_searching_wait_for_nobody(store, folder, tiny_model, monkeypatch):
    store.add(folder)
    monkeypatch.setattr(database, "_TIMEOUT", 0.0)
    with Database(store.path).transaction(), Store.open(store.path, tiny_model) as other:
        assert len(other.search("ferry", 100)) == 4


def test_a_damaged_store_ends_in_words(store, folder, tmp_path, tiny_model):
    """Overwrite one page of the file at a time: every error is a GritLiteError."""
    store.add(folder)
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("vacuum")
    connection.close()
    whole = store.path.read_bytes()
    path = tmp_path / "b.grit"
    noise = np.random.default_rng(0)
    told = 0
    for start in range(0, len(whole), 4096):
        for name in tmp_path.glob("b.grit*"):
            name.unlink()
        damaged = bytearray(whole)
        damaged[start + 100 : start + 4096] = noise.bytes(3996)
        path.write_bytes(damaged)
        for act in (
            lambda: maintenance.verify(path),
            lambda: maintenance.info(path),
            lambda: search_all(path, tiny_model),
        ):
            try:
                act()
            except GritLiteError:
                told += 1
    assert told > 10


def search_all(path, model):
    with Store.open(path, model) as opened:
        for mode in ("vectors", "words", "hybrid"):
            opened.search("ferry", 100, mode=mode)


def test_an_empty_file_is_no_store_but_can_become_one(tmp_path, tiny_model):
    path = tmp_path / "b.grit"
    path.touch()
    with pytest.raises(FormatError, match="is empty, not a store"):
        maintenance.info(path)
    with pytest.raises(FormatError, match="is empty, not a store"):
        Store.open(path, tiny_model, create=False)
    assert path.stat().st_size == 0
    Store.open(path, tiny_model).close()


@pytest.mark.parametrize("states", ["q8_0", "q4_0"])
def test_rows_that_are_no_whole_blocks_make_no_store(tmp_path, states):
    with (
        GritLM(write_model(tmp_path / "tiny.gguf"), threads=1) as model,
        pytest.raises(UsageError, match="blocks of 32 numbers, but a token of this model has 16"),
    ):
        Store.open(tmp_path / "b.grit", model, states=states)
    assert not (tmp_path / "b.grit").exists()


def test_a_budget_needs_states(tmp_path, tiny_model):
    with pytest.raises(UsageError, match="states_budget is set, but no states are kept"):
        Store.open(tmp_path / "b.grit", tiny_model, states_budget=1000)
    assert not (tmp_path / "b.grit").exists()
