"""What a value can look like: by type, with what its parts must be.

A shape is the form between a schema and its grammar. Nodes in it stand for shapes of their
own, so that recursion costs nothing. It knows neither keywords nor GBNF.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gritlite.runtime.schema.automaton import Automaton
from gritlite.runtime.schema.branches import Node
from gritlite.runtime.schema.scalars import Text


@dataclass(frozen=True)
class Property:
    """A property that may be written, and must be if `required`."""

    name: str
    node: Node
    required: bool


@dataclass(frozen=True)
class Extra:
    """Properties whose names an automaton accepts, any number of them."""

    names: Automaton
    node: Node


@dataclass(frozen=True)
class Object:
    """An object with `low` to `high` properties, in the order given, extras last."""

    properties: tuple[Property, ...]
    extras: tuple[Extra, ...] = ()
    low: int = 0
    high: int | None = None


@dataclass(frozen=True)
class Array:
    """An array of `low` to `high` items: some with nodes of their own, then `rest`.

    `unique` is the place of the part that wants all items to be different, or empty.
    """

    prefix: tuple[Node, ...]
    rest: Node
    low: int = 0
    high: int | None = None
    unique: str = ""


@dataclass(frozen=True)
class Shape:
    """The union of what a value can be; `any_number` allows exponents too."""

    literals: tuple[Any, ...] = ()
    any_number: bool = False
    number: Automaton | None = None
    texts: tuple[Text, ...] = ()
    arrays: tuple[Array, ...] = ()
    objects: tuple[Object, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is no value of this shape."""
        return not (
            self.literals
            or self.any_number
            or self.number
            or self.texts
            or self.arrays
            or self.objects
        )

    def nodes(self) -> Iterator[Node]:
        """Yield the nodes of items and properties."""
        for array in self.arrays:
            yield from array.prefix
            yield array.rest
        for found in self.objects:
            yield from (one.node for one in found.properties)
            yield from (one.node for one in found.extras)
