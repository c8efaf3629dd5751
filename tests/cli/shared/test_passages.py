"""Where passages stand, as text, as links on a terminal, and as JSON."""

import sys
from pathlib import Path

import pytest

from gritlite.cli.shared.passages import reference, reference_list
from gritlite.rag.search import Passage


def passage(source, place, heading="Title"):
    texts = {"heading": heading, "place": place, "text": "text", "embedded": "Title\ntext"}
    return Passage(1, source, Path(source), "Title", {}, **texts, score=0.5)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("source", "place", "wanted"),
    [
        ("notes/a.md", "line 12", "notes/a.md:12  (Title)"),
        ("notes/a.pdf", "page 3", "notes/a.pdf, page 3  (Title)"),
        ("notes/a.docx", "", "notes/a.docx  (Title)"),
    ],
)
def test_in_plain_text(here, source, place, wanted):
    assert reference(passage(here / source, place)) == wanted
    assert reference(passage(f"/else/{source}", place)) == f"/else/{wanted}"


@pytest.mark.parametrize(
    ("place", "fragment", "shown"),
    [
        ("line 12", "#12", "a b.md:12"),
        ("page 3", "#page=3", "a b.md, page 3"),
        ("", "", "a b.md"),
    ],
)
def test_a_terminal_gets_a_link(here, terminal, place, fragment, shown):
    link = f"{here.as_uri()}/a%20b.md{fragment}"
    wanted = f"\x1b]8;;{link}\x1b\\{shown}\x1b]8;;\x1b\\  (Title)"
    assert reference(passage(here / "a b.md", place)) == wanted


@pytest.mark.parametrize("name", ["dumb", "linux"])
def test_a_terminal_without_links(here, terminal, monkeypatch, name):
    monkeypatch.setenv("TERM", name)
    assert reference(passage(here / "a.md", "line 1")) == "a.md:1  (Title)"


def test_names_cannot_drive_the_terminal(here, terminal):
    shown = reference(passage(here / "\x1b[2J.md", "line 1", "\x1b[2J"))
    assert "\x1b[2J" not in shown
    assert "%1B%5B2J.md#1" in shown


def test_no_list_without_passages():
    assert reference_list([]) == ""
    assert reference_list([passage("/a.md", "")] * 2).startswith("\n[1] /a.md  (Title)\n[2] ")
