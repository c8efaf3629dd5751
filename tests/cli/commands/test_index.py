"""`gritlite index`: a store from folders."""

import pytest

from gritlite import GritLM
from gritlite.cli.commands.index import describe
from gritlite.cli.commands.store import rows
from gritlite.errors import FileError, UsageError
from gritlite.rag import maintenance
from gritlite.rag.embedding import Pending
from gritlite.rag.planning import Plan
from gritlite.rag.store import Store
from tests.cli.in_process import index


def test_the_summary_goes_to_standard_output_and_the_rest_to_the_other(tiny_path, folder):
    (folder / "photo.jpg").write_bytes(b"x")
    (folder / "empty.txt").write_text("")
    first = index(tiny_path, "notes", "--store", "a.grit")
    assert first.stdout == "a.grit: 4 documents added\n"
    assert "no text in" in first.stderr
    assert "files of other kinds were left out: 1 of .jpg" in first.stderr
    assert "embedding 4 chunks of " in first.stderr
    (folder / "boats.txt").unlink()
    (folder / "inn.md").write_text("# The inn\n\nSold.\n")
    again = index(tiny_path, "notes", "--store", "a.grit")
    assert again.stdout == "a.grit: 1 document changed, 2 unchanged, 1 removed\n"
    assert "embedding 1 chunk of " in again.stderr
    assert "embedding" not in index(tiny_path, "notes", "--store", "a.grit").stderr


def test_a_damaged_file_is_reported_and_the_exit_code_says_so(gritlite, folder, tmp_path):
    (folder / "a.pdf").write_bytes(b"%PDF broken")
    status, out, err = gritlite("index", folder, "--store", tmp_path / "a.grit")
    assert status == 2
    assert "3 documents added, 1 not read" in out
    assert f"not read: {folder / 'a.pdf'} is damaged" in err
    assert "Traceback" not in err


def test_an_unclear_encoding_is_refused_until_it_is_named(gritlite, folder, tmp_path):
    (folder / "a.txt").write_bytes(b"na\xefve")
    (folder / "b.txt").write_bytes(
        "Grüße aus München, wo die Gaststätte früh schließt. ".encode("cp1252") * 2
    )
    store = ("--store", tmp_path / "a.grit")
    status, _, err = gritlite("index", folder, *store, "--encoding", "klingon")
    assert status == 2
    assert "the encoding 'klingon' is unknown" in err
    assert not (tmp_path / "a.grit").exists()
    status, out, err = gritlite("index", folder, *store)
    assert status == 2
    assert "4 documents added, 1 not read" in out
    assert "a.txt line 1 is not valid UTF-8: save it as UTF-8, or name its encoding" in err
    assert "name the encoding of these files by --encoding NAME" in err
    assert f"{folder / 'b.txt'}: read as cp1252 (detected)" in err
    status, out, err = gritlite("index", folder, *store, "--encoding", "cp1252")
    assert status == 0
    assert "1 document added, 4 unchanged" in out


def test_main_text_is_told_and_stays(gritlite, folder, tmp_path):
    (folder / "cats.html").write_text(
        "<nav>Previous topic</nav><main><h1>Cats</h1><p>Seven grey cats live in the old mill, where"
        " they hunt mice by night and sleep by day.</p></main>"
    )
    store = tmp_path / "a.grit"
    status, _, err = gritlite("index", folder, "--store", store, "--main-text")
    assert status == 0
    assert f"{folder / 'cats.html'}: only its main text was read: 2 words were left out" in err
    assert ("web pages", "their main text only") in rows(maintenance.info(store))
    other = tmp_path / "b.grit"
    assert gritlite("index", folder, "--store", other)[0] == 0
    status, _, err = gritlite("index", folder, "--store", other, "--main-text")
    assert status == 2
    assert "was made with main_text False, which cannot be changed" in err


def test_a_mistyped_path_makes_no_store(tiny_path, folder):
    with pytest.raises(FileError, match="none does not exist"):
        index(tiny_path, "notes", "none", "--store", "new.grit")
    assert list(folder.parent.glob("new.grit*")) == []


def test_nothing_to_index_makes_no_store(tiny_path, folder):
    (folder.parent / "photos").mkdir()
    (folder.parent / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"no documents to index; .* left out: 1 of \.jpg"):
        index(tiny_path, "photos", "--store", "new.grit")
    assert list(folder.parent.glob("new.grit*")) == []


def test_a_resumed_run_says_what_was_there(tiny_path, folder):
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as store:
        store.add(folder / "inn.md")
        store.scan(folder)  # and then the process dies
    found = index(tiny_path, "notes", "--store", "a.grit")
    assert "resumed: 1 of 3 documents was already indexed" in found.stderr
    assert found.stdout == "a.grit: 2 documents added, 1 unchanged\n"


def test_changed_metadata_is_told(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    again = index(tiny_path, "notes/inn.md", "--store", "a.grit", "--metadata", "year=1850")
    assert again.stdout == "a.grit: 1 document with changed metadata\n"
    again = index(tiny_path, "notes", "--store", "a.grit", "--metadata", "year=1850")
    assert again.stdout == "a.grit: 2 documents with changed metadata, 1 unchanged\n"
    (folder / "boats.txt").write_text("The boats are blue.")
    again = index(tiny_path, "notes", "--store", "a.grit", "--metadata", "year=1851")
    assert again.stdout == "a.grit: 1 document changed, 2 with changed metadata\n"
    again = index(tiny_path, "notes", "--store", "a.grit")
    assert again.stdout == "a.grit: 3 documents unchanged\n"


def test_a_resumed_run_counts_documents_with_changed_metadata(tiny_path, folder):
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as store:
        store.add(folder / "inn.md")
        store.scan(folder)  # and then the process dies
    found = index(tiny_path, "notes", "--store", "a.grit", "--metadata", "year=1850")
    assert "resumed: 1 of 3 documents was already indexed" in found.stderr
    assert found.stdout == "a.grit: 2 documents added, 1 with changed metadata\n"


def test_a_folder_that_is_gone_is_told_and_kept(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    folder.rename(folder.with_name("moved"))
    with pytest.raises(
        FileError, match=r"does not exist, but a\.grit has 3 documents of it"
    ) as told:
        index(tiny_path, "notes", "--store", "a.grit")
    assert told.value.__notes__ == ["`gritlite store remove a.grit PATH`"]
    folder.mkdir()  # where a disk is not mounted
    with pytest.raises(FileError, match=r"is empty, but a\.grit has 3 documents of it"):
        index(tiny_path, "notes", "--store", "a.grit")
    folder.rmdir()
    assert f"{folder} is gone" in index(tiny_path, "moved", "--store", "a.grit").stderr


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        (("none", "--store", "a.grit"), FileError, "none does not exist"),
        (("notes", "--store", "none/a.grit"), FileError, "the folder none does not exist"),
        (("notes", "--store", "a.grit", "--chunk-tokens", 4), UsageError, "expected 32 to"),
    ],
)
def test_calls_that_cannot_be_right(tiny_path, folder, arguments, error, problem):
    with pytest.raises(error, match=problem):
        index(tiny_path, *arguments)


@pytest.mark.parametrize(
    ("seconds", "time"), [(0.2, "1 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h 1 min")]
)
def test_times_are_reported_in_their_unit(seconds, time):
    assert describe(Plan(Pending(5, 1000), seconds, 0)) == (
        f"embedding 5 chunks of 1,000 tokens: about {time}"
    )
    assert describe(Plan(Pending(1, 1), 1, 0)) == "embedding 1 chunk of 1 token: about 1 s"
