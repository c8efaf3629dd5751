"""From a schema's nodes to shapes."""

from typing import Any

from gritlite.errors import UsageError
from gritlite.runtime.schema import automaton
from gritlite.runtime.schema.arrays import Arrays
from gritlite.runtime.schema.automaton import Automaton, TooLargeError
from gritlite.runtime.schema.branches import MAX_BRANCHES, Branch, Branches, Node, node, types
from gritlite.runtime.schema.cycles import Cycles
from gritlite.runtime.schema.document import Document
from gritlite.runtime.schema.objects import Objects
from gritlite.runtime.schema.patterns import Patterns
from gritlite.runtime.schema.refusals import refusal
from gritlite.runtime.schema.scalars import Scalars, Text, as_automaton
from gritlite.runtime.schema.shapes import Array, Object, Shape
from gritlite.runtime.schema.values import Values, equal

MAX_DEPTH = 8  # nodes inside each other that are looked into to find out whether one is empty
MAX_NODES = 20_000


class Reader:
    """Makes the shapes of one schema, each once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        patterns = Patterns(document)
        cycles = Cycles(document)
        self._branches = Branches(document, cycles)
        self._values = Values(document, patterns, cycles)
        self._scalars = Scalars(document, patterns)
        self._objects = Objects(document, patterns, self._values, self.is_empty, self._strings)
        self._arrays = Arrays(document, self.is_empty)
        self._shapes: dict[Node, Shape] = {}
        self._open: list[Node] = []

    def is_empty(self, wanted: Node) -> bool:
        """Return whether no value is valid under a node, False where it is not known."""
        if wanted not in self._shapes and (wanted in self._open or len(self._open) > MAX_DEPTH):
            return False
        return self.shape(wanted).is_empty

    def shape(self, wanted: Node) -> Shape:
        """Return a node's shape. Raises UsageError for what cannot be held."""
        if wanted not in self._shapes:
            if len(self._shapes) > MAX_NODES:
                raise UsageError(f"the JSON schema has more than {MAX_NODES} different parts")
            self._open.append(wanted)
            try:
                self._shapes[wanted] = self._read(wanted)
            finally:
                self._open.pop()
        return self._shapes[wanted]

    def _read(self, wanted: Node) -> Shape:
        shape = Shape()
        for branch in self._branches.of(wanted):
            shape = _union(shape, self._read_branch(branch))
        return shape

    def _read_branch(self, branch: Branch) -> Shape:
        listed = self._scalars.listed(branch.parts)
        if listed is not None:
            return _listed([value for value in listed if self._is_valid(value, branch)])
        kinds = types(map(self._document.keywords, branch.parts))
        constants = {"null": (None,), "boolean": (False, True)}
        literals = [value for kind in kinds for value in constants.get(kind, ())]
        forbidden = self._forbidden(branch)
        return Shape(
            literals=tuple(value for value in literals if self._is_valid(value, branch)),
            any_number="number" in kinds and not self._says_of_numbers(branch, forbidden),
            number=self._number(branch, kinds, forbidden),
            texts=self._texts(branch, forbidden) if "string" in kinds else (),
            arrays=self._arrays_of(branch, forbidden) if "array" in kinds else (),
            objects=self._objects_of(branch, forbidden) if "object" in kinds else (),
        )

    def _is_valid(self, value: Any, branch: Branch) -> bool:
        return all(self._values.valid(value, place) for place in branch.parts) and not any(
            self._values.valid(value, place, wide=True) for place in branch.forbidden
        )

    def _forbidden(self, branch: Branch) -> list[tuple[str, ...]]:
        """Return the parts of each branch of what must not hold."""
        found: list[tuple[str, ...]] = []
        for pointer in branch.forbidden:
            for other in self._branches.of(node((pointer, True))):
                listed = self._scalars.listed(other.parts)
                containers = [one for one in listed or () if isinstance(one, list | dict)]
                for number, value in enumerate(containers):
                    place = f"{pointer} value {number} of {' '.join(other.parts)}"
                    found.append((self._document.add(place, _schema_of(value)),))
                found.append(other.parts)
        return found

    def _kinds(self, parts: tuple[str, ...]) -> list[str]:
        return types(map(self._document.keywords, parts))

    def _says_of_numbers(self, branch: Branch, forbidden: list[tuple[str, ...]]) -> bool:
        keywords = map(self._document.keywords, branch.parts)
        return any(_NUMERIC & part.keys() for part in keywords) or any(
            "number" in self._kinds(parts) or "integer" in self._kinds(parts) for parts in forbidden
        )

    def _number(
        self, branch: Branch, kinds: list[str], forbidden: list[tuple[str, ...]]
    ) -> Automaton | None:
        if "number" not in kinds and "integer" not in kinds:
            return None
        found = self._scalars.number(branch.parts, wide=False)
        for parts in forbidden:
            if "number" in self._kinds(parts) or "integer" in self._kinds(parts):
                found = automaton.without(found, self._scalars.number(parts, wide=True))
        return None if found.is_empty else found

    def _texts(self, branch: Branch, forbidden: list[tuple[str, ...]]) -> tuple[Text, ...]:
        found = self._scalars.text(branch.parts, wide=False)
        for parts in forbidden:
            if "string" in self._kinds(parts):
                other = self._scalars.text(parts, wide=True)
                found = self._scalars.without(found, other, branch.forbidden[0])
        return () if found.is_empty else (found,)

    def _arrays_of(self, branch: Branch, forbidden: list[tuple[str, ...]]) -> tuple[Array, ...]:
        drafts = [self._arrays.draft(branch.parts)]
        for parts in forbidden:
            if "array" in self._kinds(parts) and self._scalars.listed(parts) is None:
                drafts = [wrong for one in drafts for wrong in self._arrays.breaking(one, parts)]
                _check_number(drafts, branch)
        built = (self._arrays.build(draft) for draft in dict.fromkeys(drafts))
        return tuple(array for array in built if array is not None)

    def _objects_of(self, branch: Branch, forbidden: list[tuple[str, ...]]) -> tuple[Object, ...]:
        drafts = [self._objects.draft(branch.parts)]
        for parts in forbidden:
            if "object" in self._kinds(parts) and self._scalars.listed(parts) is None:
                drafts = [wrong for one in drafts for wrong in self._objects.breaking(one, parts)]
                _check_number(drafts, branch)
        built = (self._objects.build(draft) for draft in dict.fromkeys(drafts))
        return tuple(one for one in built if one is not None)

    def _strings(self, pointer: str) -> Automaton:
        """Return the strings that are valid under a part, for names of properties."""
        found = automaton.NOTHING
        try:
            for text in self.shape(node((pointer, True))).texts:
                found = automaton.either(found, as_automaton(text))
        except TooLargeError as error:
            raise refusal("propertyNames", pointer, str(error)) from error
        return found


_NUMERIC = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}


def _check_number(drafts: list[Any], branch: Branch) -> None:
    if len(drafts) > MAX_BRANCHES:
        reason = f"it has more than {MAX_BRANCHES} combinations"
        raise refusal("oneOf or not", branch.forbidden[0], reason)


def _listed(values: list[Any]) -> Shape:
    words = [value for value in values if isinstance(value, str)]
    others = tuple(value for value in values if not isinstance(value, str))
    return Shape(others, texts=(Text(automaton=automaton.texts(words)),) if words else ())


def _schema_of(value: Any) -> dict[str, Any]:
    """Return the schema of an object or array without `const`."""
    if isinstance(value, list):
        items: dict[str, Any] = {"prefixItems": [{"const": item} for item in value]}
        size = {"type": "array", "minItems": len(value), "maxItems": len(value)}
        return size | (items if value else {})
    return {
        "type": "object",
        "required": list(value),
        "properties": {name: {"const": item} for name, item in value.items()},
        "additionalProperties": False,
    }


def _union(first: Shape, second: Shape) -> Shape:
    """Return the union of two shapes."""
    numbers = [one for one in (first.number, second.number) if one is not None]
    literals = list(first.literals)
    literals += [one for one in second.literals if not any(equal(one, o) for o in first.literals)]
    return Shape(
        tuple(literals),
        first.any_number or second.any_number,
        automaton.either(*numbers) if len(numbers) == 2 else next(iter(numbers), None),
        first.texts + second.texts,
        first.arrays + second.arrays,
        first.objects + second.objects,
    )
