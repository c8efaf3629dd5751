"""Objects under the plain keywords of a branch, and objects that are not valid under one.

An object in the making (`Draft`) is a set of parts plus what else its properties must be.
"Not valid under parts" has no grammar, but the ways to break them have: a required property
left out, or a property that is there and not valid.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from gritlite.runtime.schema import automaton
from gritlite.runtime.schema.automaton import EVERYTHING, Automaton
from gritlite.runtime.schema.branches import Node, node
from gritlite.runtime.schema.document import Document
from gritlite.runtime.schema.patterns import Patterns
from gritlite.runtime.schema.refusals import refusal
from gritlite.runtime.schema.shapes import Extra, Object, Property
from gritlite.runtime.schema.values import Values

MAX_PROPERTIES = 1_000

_NAMING = ("properties", "required", "patternProperties")

IsEmpty = Callable[[Node], bool]


@dataclass(frozen=True)
class Draft:
    """An object in the making."""

    parts: tuple[str, ...]
    required: tuple[str, ...] = ()
    forbidden: frozenset[str] = frozenset()
    more: tuple[tuple[str, Node], ...] = ()  # what else a property must be


class Objects:
    """Makes the objects of one schema."""

    def __init__(
        self,
        document: Document,
        patterns: Patterns,
        values: Values,
        is_empty: IsEmpty,
        strings: Callable[[str], Automaton],
    ) -> None:
        self._document = document
        self._strings = strings
        self._patterns = patterns
        self._values = values
        self._is_empty = is_empty

    def draft(self, parts: tuple[str, ...]) -> Draft:
        """Return the draft of objects that are valid under parts."""
        keywords = map(self._document.keywords, parts)
        required = [name for part in keywords for name in part.get("required", ())]
        return Draft(parts, tuple(dict.fromkeys(required)))

    def names(self, draft: Draft) -> list[str]:
        """Return the names that the schema mentions, in its order."""
        keywords = [self._document.keywords(pointer) for pointer in draft.parts]
        named = [name for part in keywords for name in part.get("properties", ())]
        return list(dict.fromkeys([*named, *draft.required, *(name for name, _ in draft.more)]))

    def value(self, draft: Draft, name: str) -> Node | None:
        """Return what a property's value must be, None where it may not be there."""
        if name in draft.forbidden:
            return None
        found: list[tuple[str, bool]] = []
        for pointer in draft.parts:
            if "propertyNames" in self._document.keywords(pointer):
                wanted = self._document.child(pointer, "propertyNames")
                if not self._values.valid(name, wanted):
                    return None
            found += [(part, True) for part in self._patterns.property_parts(pointer, name)]
        found += [part for other, parts in draft.more if other == name for part in parts]
        return node(*found)

    def can_have(self, draft: Draft, name: str) -> bool:
        """Return whether a property may be written."""
        value = self.value(draft, name)
        if value is None or (not value and not self._writes(draft, name)):
            return False
        return not self._is_empty(value)

    def _writes(self, draft: Draft, name: str) -> bool:
        return name in self.names(draft) or self._is_open(draft)

    def _is_open(self, draft: Draft) -> bool:
        """Return whether a schema says nothing of names, so that any are written."""
        keywords = map(self._document.keywords, draft.parts)
        return not any(part.get(name) for part in keywords for name in _NAMING) and not any(
            "additionalProperties" in self._document.keywords(place) for place in draft.parts
        )

    def build(self, draft: Draft) -> Object | None:
        """Return a draft's objects, None if there are none. Raises UsageError."""
        properties = []
        names = self.names(draft)
        if len(names) > MAX_PROPERTIES:
            raise refusal("properties", draft.parts[0], f"there are more than {MAX_PROPERTIES}")
        for name in names:
            value = self.value(draft, name)
            if value is not None and not self._is_empty(value):
                properties.append(Property(name, value, name in draft.required))
            elif name in draft.required:
                return None
        keywords = [self._document.keywords(pointer) for pointer in draft.parts]
        low = max([int(part.get("minProperties", 0)) for part in keywords], default=0)
        highs = [int(part["maxProperties"]) for part in keywords if "maxProperties" in part]
        high = min(highs) if highs else None
        extras = () if high == len(draft.required) else tuple(self._extras(draft))
        self._check_counts(draft, low, extras)
        if high is not None and (high < low or high < len(draft.required)):
            return None
        if not extras and low > len(properties):
            return None
        return Object(tuple(properties), extras, low, high)

    def _check_counts(self, draft: Draft, low: int, extras: tuple[Extra, ...]) -> None:
        """Refuse a number of properties that names written twice would make smaller."""
        if extras and low > len(draft.required) + 1:
            pointer = next(
                place
                for place in draft.parts
                if self._document.keywords(place).get("minProperties", 0) == low
            )
            reason = (
                "names that the schema does not list could be written twice; "
                "list the names, or require at most one more than `required`"
            )
            raise refusal("minProperties", pointer, reason)

    def _extras(self, draft: Draft) -> Iterable[Extra]:
        """Yield the kinds of properties that the schema does not name."""
        named = automaton.texts([*self.names(draft), *draft.forbidden])
        cells: list[tuple[Automaton, tuple[str, ...]]]
        cells = [(automaton.without(self._allowed_names(draft), named), ())]
        keywords = {pointer: self._document.keywords(pointer) for pointer in draft.parts}
        for pointer, part in keywords.items():
            cells = self._split(cells, pointer, part)
        is_open = self._is_open(draft)
        for names, parts in cells:
            value = node(*((part, True) for part in parts))
            if not names.is_empty and (parts or is_open) and not self._is_empty(value):
                yield Extra(names, value)

    def _allowed_names(self, draft: Draft) -> Automaton:
        found = EVERYTHING
        for pointer in draft.parts:
            if "propertyNames" in self._document.keywords(pointer):
                names = self._strings(self._document.child(pointer, "propertyNames"))
                found = automaton.both(found, names)
        return found

    def _split(
        self, cells: list[tuple[Automaton, tuple[str, ...]]], pointer: str, part: dict[str, Any]
    ) -> list[tuple[Automaton, tuple[str, ...]]]:
        """Divide kinds of names by the patterns of a part; some surely match, some surely not."""
        divided = [(names, parts, False) for names, parts in cells]
        for pattern in part.get("patternProperties", ()):
            place = self._document.child(pointer, "patternProperties", pattern)
            sure, maybe = self._patterns.both(pattern, pointer)
            matched = [
                (automaton.both(names, sure), (*parts, place), True) for names, parts, _ in divided
            ]
            others = [
                (automaton.without(names, maybe), parts, done) for names, parts, done in divided
            ]
            divided = [cell for cell in matched + others if not cell[0].is_empty]
        if "additionalProperties" not in part:
            return [(names, parts) for names, parts, _ in divided]
        rest = self._document.child(pointer, "additionalProperties")
        return [(names, parts if done else (*parts, rest)) for names, parts, done in divided]

    def breaking(self, draft: Draft, parts: tuple[str, ...]) -> list[Draft]:
        """Return drafts of the objects that are not valid under other parts.

        Together with `draft` they are all there are, as far as names that are not listed
        are not written. Raises UsageError if no such object can be told.
        """
        options = []
        other = self.draft(parts)
        for name in other.required:
            if not self.can_have(draft, name):
                return [draft]
            if name not in draft.required:
                options.append(replace(draft, forbidden=draft.forbidden | {name}))
        for name in dict.fromkeys([*self.names(other), *self.names(draft)]):
            if not self.can_have(draft, name):
                continue
            for wrong in self._breaking_values(draft, parts, name):
                if wrong == draft:
                    return [draft]
                options.append(wrong)
        if not options:
            self._check_known(parts)
        return options

    def _breaking_values(self, draft: Draft, parts: tuple[str, ...], name: str) -> Iterable[Draft]:
        """Yield drafts with a property that breaks other parts; the draft itself if it must."""
        required = dict.fromkeys((*draft.required, name))
        there = replace(draft, required=tuple(required))
        value = self.value(draft, name) or ()
        for pointer in parts:
            for part in self._patterns.property_parts(pointer, name):
                if self._is_empty(node(*value, (part, True))):
                    yield there
                elif not self._is_empty(node(*value, (part, False))):
                    yield replace(there, more=(*there.more, (name, ((part, False),))))

    def _check_known(self, parts: tuple[str, ...]) -> None:
        """Refuse what objects could break in ways that this module does not look for."""
        for pointer in parts:
            part = self._document.keywords(pointer)
            for keyword in ("minProperties", "maxProperties", "propertyNames", "enum", "const"):
                if keyword in part:
                    raise refusal(keyword, pointer, "its opposite (`not`, `oneOf`) is wanted here")
