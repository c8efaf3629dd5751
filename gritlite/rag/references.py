"""How a passage's place is written: "inn.md:3  (The inn)", or "a.pdf, page 2  (Title)"."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gritlite.system.wording import printable

if TYPE_CHECKING:  # the command line's help imports this module, and must not wait for numpy
    from gritlite.rag.search import Passage


def located(file: str, place: str) -> str:
    """A file and a place in it; line numbers are written as editors take them."""
    kind, _, number = place.partition(" ")
    if kind == "line":
        return printable(f"{file}:{number}")
    return printable(f"{file}, {place}" if place else file)


def reference(location: str, passage: "Passage") -> str:
    """A location, the heading of the passage there if it has one, and whether its file is gone."""
    heading = f"  ({printable(passage.heading)})" if passage.heading else ""
    gone = "  [the file is gone]" if passage.gone else ""
    return f"{location}{heading}{gone}"


def numbered(references: Sequence[str]) -> str:
    """A list of references: "[1] inn.md:3  (The inn)", a line each."""
    return "\n".join(f"[{number}] {each}" for number, each in enumerate(references, 1))
