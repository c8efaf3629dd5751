"""`gritlite search`: passages on the screen and as JSON."""

import json

import click
import pytest

from gritlite import GritLM
from gritlite.errors import FileError, UsageError
from gritlite.rag.store import Store
from tests.cli.in_process import index, search


def test_passages_are_shown_with_their_places(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    result = search(
        tiny_path, "who founded the inn?", "--store", "a.grit", "--by", "words", "-k", 1
    )
    assert result.stdout == (
        "1. notes/inn.md:3  (The inn)  score 0.24\n   Mary Smith founded the inn in 1850.\n\n"
    )
    line = search(tiny_path, "inn", "--store", "a.grit", "--by", "words", "--json", "-k", 1).stdout
    passage = json.loads(line)
    assert passage.pop("score") > 0
    assert passage == {
        "source": str(folder / "inn.md"),
        "title": "The inn",
        "metadata": {},
        "place": "line 3",
        "heading": "The inn",
        "text": "Mary Smith founded the inn in 1850.",
        "gone": False,
    }


def test_nothing_found_is_reported(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    result = search(tiny_path, "zebra", "--store", "a.grit", "--by", "words")
    assert result.stdout == ""
    assert "nothing found in a.grit" in result.stderr


def test_a_text_cannot_drive_the_terminal(tiny_path, folder):
    (folder / "evil.txt").write_text("red \x1b[2J alert")
    index(tiny_path, "notes", "--store", "a.grit")
    assert "\x1b" not in search(tiny_path, "alert", "--store", "a.grit").stdout


def test_a_search_does_not_make_a_store(tiny_path, folder):
    with pytest.raises(FileError, match="does not exist: make it with `gritlite index`"):
        search(tiny_path, "inn", "--store", "a.grit")
    assert not (folder.parent / "a.grit").exists()


def sources(model, *options):
    """The names of the documents that are found."""
    found = search(model, "ferry", "--store", "a.grit", "-k", 99, "--json", *options)
    return {json.loads(line)["source"].rpartition("/")[2] for line in found.stdout.splitlines()}


def test_only_documents_with_some_metadata(tiny_path, folder):
    of_inn = ("--metadata", "author=Mary Smith", "--metadata", "year=1850")
    index(tiny_path, folder / "inn.md", "--store", "a.grit", *of_inn)
    index(tiny_path, folder / "boats.txt", "--store", "a.grit", "--metadata", 'year="1850"')
    index(tiny_path, "notes", "--store", "a.grit", "--metadata=draft=true")
    assert sources(tiny_path) == {"inn.md", "boats.txt", "cats.html"}
    assert sources(tiny_path, "--where", "author=Mary Smith") == set()  # replaced
    index(tiny_path, folder / "inn.md", "--store", "a.grit", *of_inn)
    index(tiny_path, folder / "boats.txt", "--store", "a.grit", "--metadata", 'year="1850"')
    assert sources(tiny_path, "--where", "author=Mary Smith") == {"inn.md"}
    assert sources(tiny_path, "--where", "year=1850") == {"inn.md", "boats.txt"}
    assert sources(tiny_path, "--where", 'year="1850"') == {"boats.txt"}
    assert sources(tiny_path, "--where", "year=1850", "--where", "author=x") == set()
    assert sources(tiny_path, "--where", '{"year": {"$lt": 1900}}') == {"inn.md"}
    assert sources(tiny_path, "--where", "draft=true") == {"cats.html"}
    with pytest.raises(UsageError, match=r"operator '\$like' of 'year': expected one of \$eq"):
        sources(tiny_path, "--where", '{"year": {"$like": 1900}}')


@pytest.mark.parametrize("wrong", ["author", "=x", '{"year": ', "[" * 10_000])
def test_what_is_no_condition(tiny_path, folder, wrong):
    index(tiny_path, "notes", "--store", "a.grit")
    with pytest.raises(click.BadParameter, match=r"is not (JSON|of the form NAME=VALUE)"):
        sources(tiny_path, "--where", wrong)


def test_a_text_that_is_no_file(tiny_path, folder):
    index(tiny_path, "notes", "--store", "a.grit")
    with GritLM(tiny_path, threads=1) as model, Store.open("a.grit", model) as store:
        store.add_texts(["A zebra\n\nstands."], ids=["zoo:1"], metadata={"kind": "animal"})
    found = search(tiny_path, "zebra", "--store", "a.grit", "--by", "words", "-k", 1)
    assert found.stdout.startswith("1. zoo:1:1  score ")
    assert sources(tiny_path, "--where", "kind=animal") == {"zoo:1"}
