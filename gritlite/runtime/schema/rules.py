"""From shapes to the rules of a grammar that writes JSON."""

import json
from collections.abc import Sequence
from typing import Any

from gritlite.errors import UsageError
from gritlite.runtime.schema import automaton
from gritlite.runtime.schema.automaton import EVERYTHING, Automaton, TooLargeError
from gritlite.runtime.schema.branches import Node
from gritlite.runtime.schema.clock import tick
from gritlite.runtime.schema.gbnf import Grammar
from gritlite.runtime.schema.reader import Reader
from gritlite.runtime.schema.refusals import refusal
from gritlite.runtime.schema.scalars import Text, as_automaton
from gritlite.runtime.schema.sequences import MAX_UNIQUE, ArrayWriter, ObjectWriter, unique_array
from gritlite.runtime.schema.sequences import SHARED as SEQUENCES
from gritlite.runtime.schema.shapes import Array, Object, Shape
from gritlite.runtime.schema.values import equal
from gritlite.runtime.schema.writing import SHARED as STRINGS
from gritlite.runtime.schema.writing import write

# a number without bounds: at most 30 digits, of which a double keeps 15, and never infinite
_NUMBER = '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?'


class Rules:
    """Writes the rules of one schema, one for each node that can have a value."""

    def __init__(self, reader: Reader, root: Node) -> None:
        self._reader = reader
        self.grammar = Grammar()
        self._numbers: dict[Node, int] = {}
        self._todo: list[Node] = []
        self._written: dict[tuple[Automaton, bool], str] = {}
        self._root = root
        self._possible = self._find_possible(root)

    def write(self) -> str:
        """Return the grammar. Raises UsageError if no value is valid."""
        if self._root not in self._possible:
            raise UsageError(
                "the JSON schema allows no value: keywords contradict each other, or a value "
                "would have to hold another like itself without end"
            )
        self.grammar.define("root", self.value(self._root))
        while self._todo:
            wanted = self._todo.pop()
            self._define(wanted)
        for name, body in {**SEQUENCES, **STRINGS, "number": _NUMBER}.items():
            self.grammar.define(name, body)
        return self.grammar.text()

    def value(self, wanted: Node) -> str:
        """Return the name of a node's rule, which is written later."""
        if wanted not in self._numbers:
            self._numbers[wanted] = len(self._numbers)
            self._todo.append(wanted)
        return f"v{self._numbers[wanted]}"

    def can_be(self, wanted: Node) -> bool:
        """Return whether a node has a finite value."""
        return wanted in self._possible

    def _find_possible(self, root: Node) -> set[Node]:
        """Return the nodes that have finite values: recursion must be able to end."""
        shapes = {root: self._reader.shape(root)}
        todo = [root]
        while todo:
            for child in shapes[todo.pop()].nodes():
                if child not in shapes:
                    shapes[child] = self._reader.shape(child)
                    todo.append(child)
        possible: set[Node] = set()
        size = -1
        while size < len(possible):
            size = len(possible)
            possible |= {one for one, shape in shapes.items() if self._is_possible(shape, possible)}
        return possible

    def _is_possible(self, shape: Shape, possible: set[Node]) -> bool:
        return bool(
            shape.literals
            or shape.any_number
            or shape.number
            or shape.texts
            or any(self._array_is_possible(array, possible) for array in shape.arrays)
            or any(_object_is_possible(one, possible) for one in shape.objects)
        )

    def _array_is_possible(self, array: Array, possible: set[Node]) -> bool:
        needed = (*array.prefix[: array.low], *([array.rest] * (array.low > len(array.prefix))))
        if not all(item in possible for item in needed):
            return False
        texts = self._different_items(array) if array.unique else None
        return texts is None or len(texts) >= array.low

    def _different_items(self, array: Array) -> list[str] | None:
        """Return the texts of all values that items can have, None if they are not listed."""
        return None if array.prefix else _few_values(self._reader.shape(array.rest))

    def _define(self, wanted: Node) -> None:
        shape, name = self._reader.shape(wanted), self.value(wanted)
        options = []
        if shape.literals:
            texts = automaton.texts(json.dumps(one, ensure_ascii=False) for one in shape.literals)
            options.append(self.automaton_rule(texts, string=False))
        if shape.any_number:
            options.append("number")
        elif shape.number is not None:
            options.append(self.automaton_rule(shape.number, string=False))
        options += map(self._text, _joined(shape.texts))
        for array in shape.arrays:
            if self._array_is_possible(array, self._possible):
                options.append(self._array(array))
        for i, found in enumerate(shape.objects):
            if _object_is_possible(found, self._possible):
                options.append(ObjectWriter(self, found, f"{name}-o{i}").write())
        self.grammar.define(name, " | ".join(options))

    def automaton_rule(self, found: Automaton, *, string: bool) -> str:
        """Return what stands for an automaton's texts; its rules are written once."""
        key = (found, string)
        if key not in self._written:
            name = ("s" if string else "n") + str(len(self._written))
            self._written[key] = write(self.grammar, found, name, string=string)
        return self._written[key]

    def _text(self, text: Text) -> str:
        if text.automaton is not None:
            return self.automaton_rule(text.automaton, string=True)
        if text.low == 0 and text.high is None:
            return '"\\"" string-end'
        return f'"\\"" {self.grammar.repeated("char", text.low, text.high)} "\\""'

    def _array(self, array: Array) -> str:
        if not array.unique:
            return ArrayWriter(self, array).write()
        texts = self._different_items(array)
        if texts is None or len(texts) > MAX_UNIQUE:
            reason = f"only where there are at most {MAX_UNIQUE} values for the items to be"
            raise refusal("uniqueItems", array.unique, reason)
        return unique_array(self.grammar, array, texts)


def _joined(texts: tuple[Text, ...]) -> list[Text]:
    """Return fewer sets of strings for the same strings: one automaton has no ambiguities."""
    one: Automaton | None = None
    apart = []
    for text in texts:
        try:
            found = as_automaton(text)
            one = found if one is None else automaton.either(one, found)
        except TooLargeError:
            apart.append(text)
    if one is None or len(texts) == 1:
        return list(texts)
    return [Text() if one == EVERYTHING else Text(automaton=one), *apart]


def _few_values(shape: Shape) -> list[str] | None:
    """Return the texts of all values of a shape, None if they are not listed."""
    if shape.any_number or shape.number or shape.arrays or shape.objects:
        return None
    words: list[Any] = []
    for text in shape.texts:
        listed = None if text.automaton is None else automaton.listed(text.automaton, MAX_UNIQUE)
        if listed is None:
            return None
        words += listed
    values: list[Any] = []
    for value in (*shape.literals, *words):
        if not _is_among(value, values):
            values.append(value)
    return [json.dumps(value, ensure_ascii=False) for value in values]


def _is_among(value: Any, values: Sequence[Any]) -> bool:
    for other in values:
        tick()
        if equal(value, other):
            return True
    return False


def _object_is_possible(found: Object, possible: set[Node]) -> bool:
    left = [one for one in found.properties if one.node in possible]
    more = any(extra.node in possible for extra in found.extras)
    complete = all(one.node in possible for one in found.properties if one.required)
    return complete and (more or len(left) >= found.low)
