"""Passages of a store as text for people and as JSON."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gritlite.system.wording import printable

if TYPE_CHECKING:
    from gritlite.rag.search import Passage

_WITHOUT_LINKS = ("dumb", "linux")  # values of TERM; other terminals skip what they do not know


def reference(passage: "Passage") -> str:
    """Where a passage stands: "notes/inn.md:3  (The inn)", or "a.pdf, page 2  (Title)".

    A file below the working folder has a relative path. On a terminal the place is a link to
    the file (OSC 8); its line or page is the fragment, as kitty, iTerm2 and browsers take it.
    """
    kind, _, number = passage.place.partition(" ")
    here = Path.cwd()
    source = passage.source
    file = str(source.relative_to(here) if source.is_relative_to(here) else source)
    fragment = ""
    if kind == "line":
        file, fragment = f"{file}:{number}", f"#{number}"
    elif passage.place:
        file, fragment = f"{file}, {passage.place}", f"#page={number}" if kind == "page" else ""
    location = printable(file)
    if _shows_links():
        location = f"\x1b]8;;{source.absolute().as_uri()}{fragment}\x1b\\{location}\x1b]8;;\x1b\\"
    gone = "  [the file is gone]" if passage.gone else ""
    return f"{location}  ({printable(passage.heading)}){gone}"


def _shows_links() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in _WITHOUT_LINKS


def reference_list(passages: Sequence["Passage"]) -> str:
    """The passages that an answer is from, numbered, after an empty line; empty without any."""
    if not passages:
        return ""
    return "\n".join(["", *(f"[{n}] {reference(each)}" for n, each in enumerate(passages, 1))])


def to_json(passage: "Passage") -> dict[str, Any]:
    """A passage as a JSON object."""
    return {
        "source": str(passage.source),
        "place": passage.place,
        "heading": passage.heading,
        "text": passage.text,
        "score": passage.score,
        "gone": passage.gone,
    }
