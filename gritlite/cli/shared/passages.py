"""Passages of a store as text for people and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gritlite.cli.shared.tables import escape_controls

if TYPE_CHECKING:
    from gritlite.rag.search import Passage


def reference(passage: "Passage") -> str:
    """A passage's file, place and heading. A file below the working folder has a relative path."""
    here = Path.cwd()
    source = passage.source
    file = source.relative_to(here) if source.is_relative_to(here) else source
    location = f"{file}, {passage.place}" if passage.place else str(file)
    return escape_controls(f"{location}  ({passage.heading})")


def reference_list(passages: Sequence["Passage"]) -> str:
    """The passages that an answer is from, numbered, after an empty line."""
    return "\n".join(["", *(f"[{n}] {reference(each)}" for n, each in enumerate(passages, 1))])


def to_json(passage: "Passage") -> dict[str, Any]:
    """A passage as a JSON object."""
    return {
        "source": str(passage.source),
        "place": passage.place,
        "heading": passage.heading,
        "text": passage.text,
        "score": passage.score,
    }
