"""Alternatives of a schema: `$ref`, `allOf`, `anyOf`, `oneOf`, `not` and `if` resolved.

A node is what a value must be valid under: parts of the schema, each wanted or forbidden.
A branch is one way to be valid under a node: parts of which only the plain keywords are
left to be read, and parts that the value must not be valid under. This is the tableau
method: a node becomes the union of its branches.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gritlite.errors import UsageError
from gritlite.runtime.schema.clock import tick
from gritlite.runtime.schema.cycles import Cycles
from gritlite.runtime.schema.document import Document
from gritlite.runtime.schema.keywords import TYPES
from gritlite.runtime.schema.refusals import shown
from gritlite.runtime.schema.values import equal

MAX_BRANCHES = 1_000

Node = tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Branch:
    """Pointers of parts whose plain keywords hold, and of parts that must not hold."""

    parts: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


def node(*parts: tuple[str, bool]) -> Node:
    """Return a node of parts, each with whether it is wanted."""
    return tuple(dict.fromkeys(parts))


class Branches:
    """Resolves nodes of one schema to branches."""

    def __init__(self, document: Document, cycles: Cycles) -> None:
        self._document = document
        self._cycles = cycles
        self._known: dict[Node, list[Branch]] = {}

    def of(self, wanted: Node) -> list[Branch]:
        """Return the branches of a node. Raises UsageError."""
        if wanted not in self._known:
            found = [Branch()]
            for pointer, positive in wanted:
                self._cycles.check(pointer)
                more = self._part(pointer) if positive else self._negated(pointer)
                found = self._product(found, more, pointer)
            self._known[wanted] = found
        return self._known[wanted]

    def _negated(self, pointer: str) -> list[Branch]:
        part = self._document.keywords(pointer)
        # what was evaluated inside `not` does not count, so that twice not is not the same
        if "not" in part and len(part) == 1 and not self._document.mentions("unevaluated"):
            return self._part(self._document.child(pointer, "not"))
        return [Branch((), (pointer,))] if part else []

    def _part(self, pointer: str) -> list[Branch]:
        document, part = self._document, self._document[pointer]
        if isinstance(part, bool):
            return [Branch()] if part else []
        found = [Branch((pointer,))]
        if "$ref" in part:
            found = self._product(found, self._part(document.target(pointer)), pointer)
        for i in range(len(part.get("allOf", ()))):
            more = self._part(document.child(pointer, "allOf", i))
            found = self._product(found, more, pointer)
        for keyword in ("anyOf", "oneOf"):
            if keyword in part:
                more = self._options(pointer, keyword, len(part[keyword]))
                found = self._product(found, more, pointer)
        if "not" in part:
            found = self._product(found, self._negated(document.child(pointer, "not")), pointer)
        for more in self._conditions(pointer, part):
            found = self._product(found, more, pointer)
        return [self._closed(pointer, part, branch) for branch in found]

    def _options(self, pointer: str, keyword: str, count: int) -> list[Branch]:
        options = [self._document.child(pointer, keyword, i) for i in range(count)]
        found: list[Branch] = []
        for option in options:
            branches = self._part(option)
            if keyword == "oneOf":
                for other in options:
                    if other != option:
                        branches = self._product(branches, self._negated(other), pointer)
            found += branches
        return found

    def _conditions(self, pointer: str, part: dict[str, Any]) -> Iterable[list[Branch]]:
        """Yield the branches of `if` and of what depends on properties: with and without."""
        document = self._document
        if "if" in part and ("then" in part or "else" in part):
            yield self._either(
                document.child(pointer, "if"),
                document.child(pointer, "then") if "then" in part else None,
                document.child(pointer, "else") if "else" in part else None,
            )
        for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            for name, wanted in part.get(keyword, {}).items():
                place = f"{pointer}/{keyword} {name}"
                present = document.add(f"{place} present", {"type": "object", "required": [name]})
                if isinstance(wanted, list):
                    then = document.add(f"{place} then", {"required": [name, *wanted]})
                else:
                    then = document.child(pointer, keyword, name)
                yield self._either(present, then, None)

    def _either(self, condition: str, then: str | None, otherwise: str | None) -> list[Branch]:
        yes, no = self._part(condition), self._negated(condition)
        if then is not None:
            yes = self._product(yes, self._part(then), condition)
        if otherwise is not None:
            no = self._product(no, self._part(otherwise), condition)
        return yes + no

    def _closed(self, pointer: str, part: dict[str, Any], branch: Branch) -> Branch:
        """Add a part that stands for `unevaluatedProperties` and `unevaluatedItems`.

        What was evaluated are the properties and items that the branch's parts name, this
        part's own subschemas and no others'.
        """
        keywords = [self._document.keywords(place) for place in branch.parts]
        added: dict[str, Any] = {}
        if "unevaluatedProperties" in part and not any(
            "additionalProperties" in other for other in keywords
        ):
            for name in ("properties", "patternProperties"):
                known = [key for other in keywords for key in other.get(name, ())]
                added[name] = dict.fromkeys(known, True)
            added["additionalProperties"] = part["unevaluatedProperties"]
        if "unevaluatedItems" in part and not any(
            isinstance(other.get("items"), dict | bool) or "additionalItems" in other
            for other in keywords
        ):
            prefixes = [_prefix(other) for other in keywords]
            longest = max(map(len, prefixes), default=0)
            added |= {"prefixItems": [True] * longest} if longest else {}
            added["items"] = part["unevaluatedItems"]
        if not added:
            return branch
        place = f"{pointer} unevaluated after {' '.join(branch.parts)}"
        return Branch((*branch.parts, self._document.add(place, added)), branch.forbidden)

    def _product(self, first: list[Branch], second: list[Branch], pointer: str) -> list[Branch]:
        """Return the branches of two lists joined, without those that no value can have."""
        if len(first) * len(second) > 50 * MAX_BRANCHES:
            raise self._too_many(pointer)
        found = [
            Branch(
                tuple(dict.fromkeys((*one.parts, *other.parts))),
                tuple(dict.fromkeys((*one.forbidden, *other.forbidden))),
            )
            for one in first
            for other in second
        ]
        found = [branch for branch in dict.fromkeys(found) if self._is_possible(branch)]
        if len(found) > MAX_BRANCHES:
            raise self._too_many(pointer)
        return found

    def _too_many(self, pointer: str) -> UsageError:
        return UsageError(
            f"the JSON schema's alternatives at {shown(pointer)} multiply to more than "
            f"{MAX_BRANCHES}"
        )

    def _is_possible(self, branch: Branch) -> bool:
        tick()
        if any(pointer in branch.forbidden for pointer in branch.parts):
            return False
        keywords = [self._document.keywords(pointer) for pointer in branch.parts]
        return bool(types(keywords)) and _have_common_value(keywords)


def _prefix(part: dict[str, Any]) -> list[Any]:
    items = part.get("items")
    return items if isinstance(items, list) else part.get("prefixItems", [])


def types(keywords: Iterable[dict[str, Any]]) -> list[str]:
    """Return the types that some parts' keywords `type` leave; an integer is a number too."""
    left = set(TYPES) - {"integer"}
    for part in keywords:
        if "type" not in part:
            continue
        wanted = set(part["type"] if isinstance(part["type"], list) else [part["type"]])
        if "number" in wanted:
            wanted.add("integer")
        if "number" in left and "number" not in wanted and "integer" in wanted:
            left = (left - {"number"}) | {"integer"}
        left &= wanted
    return sorted(left)


def _have_common_value(keywords: list[dict[str, Any]]) -> bool:
    """Return whether the lists of `enum` and `const` have a value in common."""
    lists = [part["enum"] for part in keywords if "enum" in part]
    lists += [[part["const"]] for part in keywords if "const" in part]
    if len(lists) < 2:
        return not lists or bool(lists[0])
    shortest = min(lists, key=len)
    if len(shortest) * sum(map(len, lists)) > 10_000:
        return True  # to be found out later
    return any(all(any(equal(v, o) for o in other) for other in lists) for v in shortest)
