"""Options about the metadata of documents: what `index` gives them, and what searches ask for."""

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gritlite.rag.metadata import Value


def _metadata(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> "dict[str, Value] | None":
    """The metadata of all NAME=VALUE; None without any."""
    return dict(map(_named, given)) or None


def _where(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> dict[str, Any] | None:
    """A condition, as `Store.search` takes it, that is all of those given; None without any."""
    return {"$and": [_condition(text) for text in given]} if given else None


def _condition(text: str) -> dict[str, Any]:
    """The condition that JSON describes, or that NAME=VALUE does.

    VALUE does not say whether 1850 is a number or a text: both are found.
    """
    if not text.lstrip().startswith("{"):
        name, value = _named(text)
        return {name: {"$in": [value, text.partition("=")[2]]}}
    try:
        condition: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{text!r} is not JSON: {error}") from error
    return condition


def _named(text: str) -> "tuple[str, Value]":
    """The name and value of NAME=VALUE; a value that JSON reads as a number or so is that."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return name, value
    return name, read if isinstance(read, str | int | float | bool) else value


metadata_option = click.option(
    "--metadata",
    multiple=True,
    callback=_metadata,
    metavar="NAME=VALUE",
    help="What to remember of these documents, for --where of a search; repeatable. By default "
    "they keep what they have.",
)
where_option = click.option(
    "--where",
    multiple=True,
    callback=_where,
    metavar="NAME=VALUE",
    help="Only documents with this metadata; repeatable. Also a condition in JSON: "
    '{"year": {"$gte": 1990}} (docs/rag.md).',
)
