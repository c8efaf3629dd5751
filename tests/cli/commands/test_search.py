"""`gritlite search`: passages on the screen and as JSON."""

import json

import pytest

from gritlite.errors import FileError
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
