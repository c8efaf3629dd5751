"""Whether a JSON value is valid under a part of a schema: for `enum`, `const` and names.

Validity is that of JSON Schema 2020-12. Where dialects of regular expressions differ,
`wide` takes a value that any of them takes, otherwise all must.
"""

from collections.abc import Hashable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from gritlite.runtime.schema.cycles import Cycles
from gritlite.runtime.schema.document import Document
from gritlite.runtime.schema.patterns import Patterns
from gritlite.runtime.schema.refusals import refusal


class Values:
    """Checks values against the parts of one schema."""

    def __init__(self, document: Document, patterns: Patterns, cycles: Cycles) -> None:
        self._document = document
        self._patterns = patterns
        self._cycles = cycles
        self._listed: dict[str, frozenset[tuple[bool, Any]]] = {}  # scalars of each enum

    def valid(self, value: Any, pointer: str, *, wide: bool = False) -> bool:
        """Return whether a value is valid under a part. Raises UsageError."""
        part = self._document[pointer]
        if isinstance(part, bool):
            return part
        self._cycles.check(pointer)
        return all(self._holds(keyword, value, pointer, part, wide) for keyword in part)

    def _holds(
        self, keyword: str, value: Any, pointer: str, part: dict[str, Any], wide: bool
    ) -> bool:
        if keyword in _IN_PLACE:
            return self._in_place(keyword, value, pointer, part, wide)
        wanted = part[keyword]
        if keyword == "type":
            return has_type(value, wanted if isinstance(wanted, list) else [wanted])
        if keyword == "const":
            return equal(value, wanted)
        if keyword == "enum":
            return self._is_listed(value, pointer, wanted)
        if isinstance(value, dict):
            return self._object_holds(keyword, value, pointer, part, wide)
        if isinstance(value, list):
            return self._array_holds(keyword, value, pointer, part, wide)
        if isinstance(value, str):
            return self._text_holds(keyword, value, pointer, wanted, wide)
        if is_number(value):
            return _number_holds(keyword, value, part)
        return True

    def _is_listed(self, value: Any, pointer: str, wanted: list[Any]) -> bool:
        if isinstance(value, dict | list):
            return any(equal(value, other) for other in wanted)
        if pointer not in self._listed:
            scalars = (other for other in wanted if not isinstance(other, dict | list))
            self._listed[pointer] = frozenset((isinstance(one, bool), one) for one in scalars)
        return (isinstance(value, bool), value) in self._listed[pointer]

    def _in_place(
        self, keyword: str, value: Any, pointer: str, part: dict[str, Any], wide: bool
    ) -> bool:
        document = self._document
        if keyword == "$ref":
            return self.valid(value, document.target(pointer), wide=wide)
        if keyword == "not":
            return not self.valid(value, document.child(pointer, "not"), wide=not wide)
        if keyword == "if":
            condition = document.child(pointer, "if")
            branches = {
                "then": self.valid(value, condition, wide=not wide),
                "else": not self.valid(value, condition, wide=wide),
            }
            return all(
                self.valid(value, document.child(pointer, name), wide=wide)
                for name, applies in branches.items()
                if applies and name in part
            )
        parts = [document.child(pointer, keyword, i) for i in range(len(part[keyword]))]
        found = [self.valid(value, option, wide=wide) for option in parts]
        if keyword == "allOf":
            return all(found)
        if keyword == "anyOf" or wide:
            return any(found)
        return (
            sum(found) == 1 and sum(self.valid(value, option, wide=True) for option in parts) == 1
        )

    def _text_holds(self, keyword: str, value: str, pointer: str, wanted: Any, wide: bool) -> bool:
        if keyword == "minLength":
            return bool(len(value) >= wanted)
        if keyword == "maxLength":
            return bool(len(value) <= wanted)
        if keyword == "pattern":
            return self._patterns.automaton(wanted, pointer, wide=wide).accepts(value)
        return True

    def _array_holds(
        self, keyword: str, value: list[Any], pointer: str, part: dict[str, Any], wide: bool
    ) -> bool:
        if keyword == "minItems":
            return bool(len(value) >= part[keyword])
        if keyword == "maxItems":
            return bool(len(value) <= part[keyword])
        if keyword == "uniqueItems":
            return not part[keyword] or len(set(map(_comparable, value))) == len(value)
        if keyword == "unevaluatedItems":
            return self._cannot_tell(keyword, pointer)
        if keyword not in ("items", "prefixItems"):
            return True
        places = [item_part(self._document, pointer, i) for i in range(len(value))]
        return all(
            self.valid(item, place, wide=wide)
            for item, place in zip(value, places, strict=True)
            if place is not None
        )

    def _object_holds(
        self, keyword: str, value: dict[str, Any], pointer: str, part: dict[str, Any], wide: bool
    ) -> bool:
        wanted = part[keyword]
        if keyword == "required":
            return all(name in value for name in wanted)
        if keyword == "minProperties":
            return bool(len(value) >= wanted)
        if keyword == "maxProperties":
            return bool(len(value) <= wanted)
        if keyword == "propertyNames":
            names = self._document.child(pointer, keyword)
            return all(self.valid(name, names, wide=wide) for name in value)
        if keyword in ("dependentRequired", "dependencies", "dependentSchemas"):
            return all(
                self._depends(value, pointer, keyword, name, wide)
                for name in wanted
                if name in value
            )
        if keyword == "unevaluatedProperties":
            return self._cannot_tell(keyword, pointer)
        if keyword not in ("properties", "patternProperties", "additionalProperties"):
            return True
        return all(
            self.valid(value[name], place, wide=wide)
            for name in value
            for place in self._patterns.property_parts(pointer, name)
        )

    def _depends(
        self, value: dict[str, Any], pointer: str, keyword: str, name: str, wide: bool
    ) -> bool:
        wanted = self._document.keywords(pointer)[keyword][name]
        if isinstance(wanted, list):
            return all(other in value for other in wanted)
        return self.valid(value, self._document.child(pointer, keyword, name), wide=wide)

    def _cannot_tell(self, keyword: str, pointer: str) -> bool:
        raise refusal(keyword, pointer, "not beside an enum or const of objects or arrays")


_IN_PLACE = ("$ref", "not", "if", "allOf", "anyOf", "oneOf")


def item_part(document: Document, pointer: str, index: int) -> str | None:
    """Return the part that a schema of arrays wants at an index, None for anything."""
    part = document.keywords(pointer)
    first = "items" if isinstance(part.get("items"), list) else "prefixItems"
    rest = "additionalItems" if first == "items" else "items"
    if index < len(part.get(first, ())):
        return document.child(pointer, first, index)
    return document.child(pointer, rest) if rest in part else None


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def has_type(value: Any, types: Sequence[str]) -> bool:
    """Return whether a JSON value has one of some types; 5.0 is an integer."""
    if is_number(value):
        return "number" in types or ("integer" in types and value == int(value))
    kinds = {bool: "boolean", str: "string", list: "array", dict: "object", type(None): "null"}
    return kinds[type(value)] in types


def equal(first: Any, second: Any) -> bool:
    """Return whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if is_number(first) and is_number(second):
        return bool(first == second)
    if type(first) is not type(second):
        return False
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    return bool(first == second)


def _comparable(value: Any) -> Hashable:
    """Return what is equal for two JSON values that are `equal`, and can be put into a set."""
    if isinstance(value, list):
        return list, tuple(map(_comparable, value))
    if isinstance(value, dict):
        return dict, frozenset((name, _comparable(item)) for name, item in value.items())
    return isinstance(value, bool), value


def _number_holds(keyword: str, value: int | float, part: dict[str, Any]) -> bool:
    wanted = part[keyword]
    if isinstance(wanted, bool):  # draft 4: exclusiveMinimum makes minimum exclusive
        limit = part.get("minimum" if keyword == "exclusiveMinimum" else "maximum")
        return not wanted or limit is None or value != limit
    if keyword == "multipleOf":
        return _is_multiple(value, wanted)
    compare = (
        {
            "minimum": value >= wanted,
            "maximum": value <= wanted,
            "exclusiveMinimum": value > wanted,
            "exclusiveMaximum": value < wanted,
        }
        if keyword in _BOUNDS
        else {}
    )
    return bool(compare.get(keyword, True))


def _is_multiple(value: int | float, factor: int | float) -> bool:
    """Return whether a number is a multiple both in decimal and as doubles are divided."""
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    exact = Fraction(Decimal(repr(value))) / Fraction(Decimal(repr(factor)))
    try:
        return exact.denominator == 1 and (value / factor).is_integer()
    except OverflowError:
        return False


_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
