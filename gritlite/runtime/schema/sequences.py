"""Rules for arrays and objects: what follows what, with commas and counts.

A rule stands for the rest of an array or object after some items or properties. Only rests
that can be completed are written, so that no answer ends up in a dead end.
"""

import json
from typing import Protocol

from gritlite.runtime.schema.automaton import Automaton
from gritlite.runtime.schema.branches import Node
from gritlite.runtime.schema.gbnf import Grammar, literal
from gritlite.runtime.schema.shapes import Array, Extra, Object, Property

MAX_UNIQUE = 7  # different items of an array without repetitions: a rule for each subset

# Rules that all share. Spaces are bounded: a small model may repeat them without end.
SHARED = {
    "space": '" "? | "\\n" (" "{0,24} | "\\t"{1,6})',
    "colon": '":" " "?',
    "comma": '"," space',
}


class Values(Protocol):
    """What writes the values inside."""

    @property
    def grammar(self) -> Grammar:
        """The grammar in the making."""

    def value(self, wanted: Node) -> str:
        """Return the name of the rule for a node."""

    def can_be(self, wanted: Node) -> bool:
        """Return whether a node has a finite value."""

    def automaton_rule(self, found: Automaton, *, string: bool) -> str:
        """Return what stands for an automaton's texts."""


class ArrayWriter:
    """Writes the rules of one array."""

    def __init__(self, values: Values, array: Array) -> None:
        self._values = values
        self._grammar = values.grammar
        self._array = array

    def write(self) -> str:
        """Return what stands for the array."""
        return f'"[" {self._rest(0)}'

    def _rest(self, count: int) -> str:
        """Return the rule for what follows `count` items."""
        array, prefix = self._array, self._array.prefix
        close = '"]"' if count == 0 else 'space "]"'
        options = [close] if count >= array.low else []
        comma = "comma" if count else "space"
        item = prefix[count] if count < len(prefix) else array.rest
        if (array.high is None or count < array.high) and self._values.can_be(item):
            if count < len(prefix):
                options.append(f"{comma} {self._values.value(item)} {self._rest(count + 1)}")
            else:
                low = max(array.low - count, 1) - 1
                high = None if array.high is None else array.high - count - 1
                more = self._grammar.rule(f"comma {self._values.value(item)}")
                tail = self._grammar.repeated(more, low, high)
                options.append(f'{comma} {self._values.value(item)} {tail} space "]"')
        return self._grammar.rule(" | ".join(options))


def unique_array(grammar: Grammar, array: Array, texts: list[str]) -> str:
    """Return what stands for an array of different items out of a few."""

    def rest(used: frozenset[str]) -> str:
        options = []
        if len(used) >= array.low:
            options.append('space "]"' if used else '"]"')
        if len(used) < len(texts) and (array.high is None or len(used) < array.high):
            comma = "comma" if used else "space"
            left = [text for text in texts if text not in used]
            options += [f"{comma} {literal(text)} {rest(used | {text})}" for text in left]
        return grammar.rule(" | ".join(options))

    return f'"[" {rest(frozenset())}'


class ObjectWriter:
    """Writes the rules of one object."""

    def __init__(self, values: Values, found: Object, name: str) -> None:
        self._values = values
        self._grammar = values.grammar
        self._low, self._high = found.low, found.high
        self._properties = [one for one in found.properties if values.can_be(one.node)]
        self._extras = [one for one in found.extras if values.can_be(one.node)]
        self._name = name
        required = [one.required for one in self._properties]
        self._required_from = [sum(required[i:]) for i in range(len(required) + 1)]
        if self._high is not None and not self._extras and self._high >= len(required):
            self._high = None
        if self._low <= sum(required):
            self._low = 0
        # a count above this one makes no difference
        self._most = max(1, self._low) if self._high is None else self._high

    def write(self) -> str:
        """Return what stands for the object."""
        self._extra = self._extra_rule() if self._extras else ""
        last = len(self._properties)
        for place in range(last + 1):
            most = self._most if self._extras and place == last else min(place, self._most)
            for count in range(most + 1):
                if self._can_end(place, count):
                    self._define(place, count)
        return f'"{{" {self._rule(0, 0)}'

    def _rule(self, place: int, count: int) -> str:
        return f"{self._name}-{place}-{count}"

    def _can_end(self, place: int, count: int) -> bool:
        """Return whether an object with `count` properties can be completed at a place."""
        needed = self._required_from[place]
        if self._high is not None and count + needed > self._high:
            return False
        possible = count + len(self._properties) - place
        return bool(self._extras) or possible >= self._low

    def _define(self, place: int, count: int) -> None:
        """Add the rule for what follows after `count` properties, from one of them on."""
        options = []
        comma = "comma" if count else "space"
        after = count + 1 if self._high is not None else min(count + 1, self._most)
        room = self._high is None or count < self._high
        if place < len(self._properties):
            found = self._properties[place]
            if room and self._can_end(place + 1, after):
                options.append(f"{comma} {self._member(found)} {self._rule(place + 1, after)}")
            if not found.required and self._can_end(place + 1, count):
                options.append(self._rule(place + 1, count))
        else:
            if self._extras and room:
                options.append(f"{comma} {self._extra} {self._rule(place, after)}")
            if count >= self._low:
                options.append('space "}"' if count else '"}"')
        self._grammar.define(self._rule(place, count), " | ".join(options))

    def _member(self, found: Property) -> str:
        key = literal(json.dumps(found.name, ensure_ascii=False))
        return f"{key} colon {self._values.value(found.node)}"

    def _extra_rule(self) -> str:
        return self._grammar.rule(" | ".join(map(self._extra_member, self._extras)))

    def _extra_member(self, extra: Extra) -> str:
        key = self._values.automaton_rule(extra.names, string=True)
        return f"{key} colon {self._values.value(extra.node)}"
