"""Passages of a store as text for people and as JSON."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gritlite.rag import references

if TYPE_CHECKING:
    from gritlite.rag.search import Passage

_WITHOUT_LINKS = ("dumb", "linux")  # values of TERM; other terminals skip what they do not know


def reference(passage: "Passage") -> str:
    """Where a passage stands: "notes/inn.md:3  (The inn)", or "a.pdf, page 2  (Title)".

    A file below the working folder has a relative path. On a terminal the place is a link to
    the file (OSC 8); its line or page is the fragment, as kitty, iTerm2 and browsers take it.
    A text that is no file has its id.
    """
    source = passage.source
    if source is None:
        return references.reference(references.located(passage.document, passage.place), passage)
    kind, _, number = passage.place.partition(" ")
    here = Path.cwd()
    file = str(source.relative_to(here) if source.is_relative_to(here) else source)
    location = references.located(file, passage.place)
    if _shows_links():
        fragment = {"line": f"#{number}", "page": f"#page={number}"}.get(kind, "")
        location = f"\x1b]8;;{source.absolute().as_uri()}{fragment}\x1b\\{location}\x1b]8;;\x1b\\"
    return references.reference(location, passage)


def _shows_links() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in _WITHOUT_LINKS


def reference_list(passages: Sequence["Passage"]) -> str:
    """The passages that an answer is from, numbered, after an empty line; empty without any."""
    if not passages:
        return ""
    return "\n" + references.numbered([reference(each) for each in passages])


def to_json(passage: "Passage") -> dict[str, Any]:
    """A passage as a JSON object."""
    return {
        "source": passage.document,
        "title": passage.title,
        "metadata": passage.metadata,
        "place": passage.place,
        "heading": passage.heading,
        "text": passage.text,
        "score": passage.score,
        "gone": passage.gone,
    }
