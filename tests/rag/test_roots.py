"""The roots of documents, and removing them."""

from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.rag import documents, info, remove
from gritlite.rag.store import Store
from tests.rag.documents import notes
from tests.rag.old_stores import to_format_2


@pytest.fixture
def store(tmp_path, tiny_model):
    (tmp_path / "stores").mkdir()
    with Store.open(tmp_path / "stores" / "a.grit", tiny_model) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    return notes(tmp_path / "notes")


def roots(store):
    """The roots, relative to the folder of all of them, and the number of their documents."""
    home = store.path.parents[1]
    return {str(root.path.relative_to(home)): root.documents for root in info(store.path).roots}


def test_the_nearest_root_counts(store, folder):
    store.scan(folder / "more", folder / "boats.txt")
    assert roots(store) == {"notes/boats.txt": 1, "notes/more": 1}
    store.scan(folder)
    assert roots(store) == {"notes": 1, "notes/boats.txt": 1, "notes/more": 1}


def test_what_is_inside_a_root_is_none(store, folder):
    store.scan(folder)
    store.scan(folder / "more", folder / "boats.txt")
    assert roots(store) == {"notes": 3}


def test_the_folder_of_the_store_may_be_a_root(store, tmp_path):
    notes(store.path.parent / "inner")
    (tmp_path / "outer.txt").write_text("Outside.")
    store.scan(store.path.parent, tmp_path / "outer.txt")
    assert roots(store) == {"stores": 3, "outer.txt": 1}


def test_documents_of_older_stores_have_their_folders(store, folder):
    store.scan(folder)
    store.close()
    to_format_2(store.path)
    assert roots(store) == {"notes": 2, "notes/more": 1}
    assert {document.root.name for document in documents(store.path)} == {"notes", "more"}


def test_removing_a_root_and_a_document(store, folder):
    store.add(folder)
    removed = remove(store.path, [folder / "more", folder / "inn.md"])
    assert [(Path(each.target).name, each.documents) for each in removed] == [
        ("more", 1),
        ("inn.md", 1),
    ]
    assert [document.path.name for document in documents(store.path)] == ["boats.txt"]
    assert {passage.source.name for passage in store.search("cats", 9)} == {"boats.txt"}
    remove(store.path, [folder])
    assert (documents(store.path), info(store.path).roots) == ([], ())


def test_nothing_is_removed_where_one_path_is_wrong(store, folder, tmp_path):
    store.scan(folder)
    with pytest.raises(FileError, match=r"has no document .*nowhere, and none inside it"):
        remove(store.path, [folder, tmp_path / "nowhere"])
    assert len(documents(store.path)) == 3
