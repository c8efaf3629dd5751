"""Word search in a store: languages, query syntax, changed documents, stores of format 1."""

import json
import sqlite3
from pathlib import Path

import pytest

from gritlite.rag import maintenance
from gritlite.rag.store import Store
from tests.rag.documents import notes

ROWS = [
    json.loads(line) for line in Path("benchmarks/languages.jsonl").read_text("utf-8").splitlines()
]

# what turns a store into one of format 1
FORMAT_1 = """
drop trigger source_completed;
drop trigger source_removed;
drop table words;
drop view searched;
drop table root;
drop table source_checksum;
drop table chunk_checksum;
delete from setting where name in ('checksum', 'main_text');
alter table chunk drop column folded_heading;
alter table chunk drop column folded_text;
alter table source drop column reader;
alter table source drop column encoding;
alter table source drop column title;
drop table metadata;
create virtual table words using fts5 (
    heading, text, content = 'chunk', content_rowid = 'id', tokenize = 'unicode61'
);
insert into words (rowid, heading, text)
    select chunk.id, heading, text from chunk join source on source.id = source where complete;
create trigger source_completed after update of complete on source begin
    update generation set number = number + 1;
    insert into words (rowid, heading, text)
    select id, heading, text from chunk where source = new.id;
end;
create trigger source_removed before delete on source when old.complete begin
    update generation set number = number + 1;
    insert into words (words, rowid, heading, text)
    select 'delete', id, heading, text from chunk where source = old.id;
end;
pragma user_version = 1;
"""


@pytest.fixture
def store(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for number, row in enumerate(ROWS):
        (folder / f"{number:02}.txt").write_text(row["passage"], "utf-8")
    return folder


def first(store, query):
    found = store.search(query, 1, mode="words")
    return found[0].text if found else None


def test_every_language_is_found(store, folder):
    store.add(folder)
    missed = [
        query for row in ROWS for query in row["queries"] if first(store, query) != row["passage"]
    ]
    assert len(missed) <= 3
    assert first(store, "首都") == "北京是中华人民共和国的首都，位于华北平原的北部。"


def test_headings_are_searched(store, tmp_path):
    path = tmp_path / "a.md"
    path.write_text("# 歴史 Œuvre\n\nplain words\n", "utf-8")
    store.add(path)
    assert first(store, "歴史") == first(store, "oeuvre") == first(store, "plain") == "plain words"


def test_changed_and_removed_documents_leave_the_index(store, folder):
    store.add(folder)
    (folder / "00.txt").write_text("Wörter", "utf-8")
    (folder / "12.txt").unlink()
    store.add(folder)
    assert [first(store, query) for query in ("华北平原", "都市圏", "worter")] == [
        None,
        None,
        "Wörter",
    ]
    store._database.execute("insert into words (words, rank) values ('integrity-check', 1)")


@pytest.mark.parametrize("query", ['"', "a AND (b", "inn*", "NEAR(", "-", "heading:inn", "ins\x00"])
def test_any_words_can_be_searched(store, tmp_path, query):
    store.add(notes(tmp_path / "notes"))
    store.search(query, mode="words")


def test_a_store_of_format_1_is_brought_up_to_date(store, folder, tiny_model):
    store.add(folder)
    (folder / "new.txt").write_text("未完", "utf-8")
    store.scan(folder)  # not embedded, and so not searched
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.executescript(FORMAT_1)
    connection.close()
    with Store.open(store.path, tiny_model) as again:
        assert first(again, "首都") == "北京是中华人民共和国的首都，位于华北平原的北部。"
        assert first(again, "STRASSE") == "Das Café liegt in der langen Straße hinter dem Münster."
        assert first(again, "未完") is None
        again.embed()
        assert first(again, "未完") == "未完"
        (folder / "new.txt").unlink()
        assert again.add(folder).changes.removed == 1
        again._database.execute("insert into words (words, rank) values ('integrity-check', 1)")
    assert maintenance.verify(store.path) == []


def test_an_interrupted_upgrade_leaves_the_old_store(store, folder, tiny_model, monkeypatch):
    store.add(folder)
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.executescript(FORMAT_1)
    connection.close()
    with monkeypatch.context() as patched:
        patched.setattr("gritlite.rag.schema.folded", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Store.open(store.path, tiny_model)
    with Store.open(store.path, tiny_model) as again:
        assert first(again, "首都") == "北京是中华人民共和国的首都，位于华北平原的北部。"
