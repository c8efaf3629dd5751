"""Arrays under the plain keywords of a branch, and arrays that are not valid under one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gritlite.runtime.schema.branches import Node, node
from gritlite.runtime.schema.document import Document
from gritlite.runtime.schema.refusals import refusal
from gritlite.runtime.schema.shapes import Array
from gritlite.runtime.schema.values import item_part

MAX_PREFIX = 1_000

IsEmpty = Callable[[Node], bool]


@dataclass(frozen=True)
class Draft:
    """An array in the making: parts, its number of items, and what else items must be."""

    parts: tuple[str, ...]
    low: int = 0
    high: int | None = None
    more: tuple[tuple[int, Node], ...] = ()


class Arrays:
    """Makes the arrays of one schema."""

    def __init__(self, document: Document, is_empty: IsEmpty) -> None:
        self._document = document
        self._is_empty = is_empty

    def draft(self, parts: tuple[str, ...]) -> Draft:
        """Return the draft of arrays that are valid under parts."""
        keywords = [self._document.keywords(pointer) for pointer in parts]
        low = max([int(part.get("minItems", 0)) for part in keywords], default=0)
        highs = [int(part["maxItems"]) for part in keywords if "maxItems" in part]
        return Draft(parts, low, min(highs) if highs else None)

    def _item(self, draft: Draft, index: int) -> Node:
        found = [(item_part(self._document, pointer, index), True) for pointer in draft.parts]
        wanted = [(pointer, positive) for pointer, positive in found if pointer is not None]
        wanted += [part for other, parts in draft.more if other == index for part in parts]
        return node(*wanted)

    def _prefix_length(self, draft: Draft) -> int:
        keywords = [self._document.keywords(pointer) for pointer in draft.parts]
        lists = [part.get("prefixItems", ()) for part in keywords]
        lists += [part["items"] for part in keywords if isinstance(part.get("items"), list)]
        return max([*map(len, lists), *(index + 1 for index, _ in draft.more)], default=0)

    def build(self, draft: Draft) -> Array | None:
        """Return a draft's arrays, None if there are none. Raises UsageError."""
        length, high = self._prefix_length(draft), draft.high
        if length > MAX_PREFIX:
            raise refusal("prefixItems", draft.parts[0], f"there are more than {MAX_PREFIX}")
        rest = self._item(draft, length)
        if length and not rest and draft.low <= length:
            high = length if high is None else min(high, length)  # more items are not written
        prefix = [self._item(draft, index) for index in range(length)]
        for index, item in enumerate([*prefix, rest]):
            if self._is_empty(item):
                high = index if high is None else min(high, index)
                break
        if high is not None and high < draft.low:
            return None
        unique = [
            place for place in draft.parts if self._document.keywords(place).get("uniqueItems")
        ]
        many = high is None or high > 1
        place = unique[0] if unique and many else ""
        return Array(tuple(prefix[:high]), rest, draft.low, high, place)

    def _unique(self, parts: tuple[str, ...]) -> list[str]:
        return [place for place in parts if self._document.keywords(place).get("uniqueItems")]

    def breaking(self, draft: Draft, parts: tuple[str, ...]) -> list[Draft]:
        """Return drafts of the arrays that are not valid under other parts."""
        other = self.draft(parts)
        options = []
        if other.low > draft.low:
            high = other.low - 1 if draft.high is None else min(draft.high, other.low - 1)
            options.append(replace(draft, high=high))
        if other.high is not None and (draft.high is None or draft.high > other.high):
            options.append(replace(draft, low=max(draft.low, other.high + 1)))
        if (draft.high is not None and draft.high < other.low) or (
            other.high is not None and draft.low > other.high
        ):
            return [draft]
        for index in range(max(self._prefix_length(other), 1)):
            if draft.high is not None and index >= draft.high:
                break
            for wrong in self._breaking_items(draft, parts, index):
                if wrong == draft:
                    return [draft]
                options.append(wrong)
        if not options and (unique := self._unique(parts)):
            raise refusal("uniqueItems", unique[0], "its opposite (`not`, `oneOf`) is wanted here")
        return options

    def _breaking_items(self, draft: Draft, parts: tuple[str, ...], index: int) -> list[Draft]:
        there = replace(draft, low=max(draft.low, index + 1))
        item = self._item(draft, index)
        found = []
        for pointer in parts:
            part = item_part(self._document, pointer, index)
            if part is None:
                continue
            if self._is_empty(node(*item, (part, True))):
                found.append(there)
            elif not self._is_empty(node(*item, (part, False))):
                found.append(replace(there, more=(*there.more, (index, ((part, False),)))))
        return found
