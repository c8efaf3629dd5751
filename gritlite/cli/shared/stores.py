"""What the commands about stores share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gritlite.cli.shared.options import combined
from gritlite.cli.shared.tables import printable

if TYPE_CHECKING:
    from gritlite.rag.search import Passage

store_option: Callable[[Any], Any] = click.option(
    "--store",
    "store_path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The store's file.",
)


def search_options(count: int) -> Callable[[Any], Any]:
    """What is searched for and how; `count` passages by default."""
    return combined(
        click.option(
            "-k",
            "count",
            type=click.IntRange(min=1),
            default=count,
            show_default=True,
            help="How many passages.",
        ),
        click.option(
            "--by",
            "mode",
            type=click.Choice(("hybrid", "vectors", "words")),
            default="hybrid",
            show_default=True,
            help="Find them by meaning, by the question's words, or by both joined.",
        ),
        click.option(
            "--rerank",
            type=click.IntRange(min=0),
            default=0,
            metavar="N",
            help="Read the best N passages again, and order them by how likely the model finds "
            "the question after each.",
        ),
        click.option(
            "--instruction",
            default="",
            metavar="WORDS",
            help="What the question is embedded for.",
        ),
    )


def origin(passage: "Passage") -> str:
    """Where a passage comes from: its file, seen from here if it lies below, and the place."""
    here = Path.cwd()
    source = passage.source
    shown = source.relative_to(here) if source.is_relative_to(here) else source
    return f"{shown}, {passage.place}" if passage.place else str(shown)


def named(passage: "Passage") -> str:
    """A passage's origin and heading, for a screen."""
    return printable(f"{origin(passage)}  ({passage.heading})")


def facts(passage: "Passage") -> dict[str, Any]:
    """A passage as JSON has it."""
    return {
        "source": str(passage.source),
        "place": passage.place,
        "heading": passage.heading,
        "text": passage.text,
        "score": passage.score,
    }


def cited(passages: Sequence["Passage"]) -> str:
    """The passages of an answer as a list for people, behind an empty line."""
    return "\n".join(["", *(f"[{n}] {named(each)}" for n, each in enumerate(passages, 1))])
