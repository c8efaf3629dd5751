"""Parts that refer to themselves without going into a value, which means nothing.

`{"$ref": "#"}` is one; `{"items": {"$ref": "#"}}` is none, because it speaks of an item.
"""

from collections.abc import Iterable

from gritlite.runtime.schema.document import Document
from gritlite.runtime.schema.refusals import refusal

MAX_TRAIL = 100  # parts that lead to each other in place


class Cycles:
    """Looks at each part of a schema once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._right: set[str] = set()

    def check(self, pointer: str, trail: tuple[str, ...] = ()) -> None:
        """Raise UsageError for a part that refers to itself in place."""
        if pointer in trail:
            raise refusal("$ref", pointer, "it refers to itself without end")
        if len(trail) > MAX_TRAIL:
            raise refusal("$ref", pointer, f"more than {MAX_TRAIL} parts refer to each other")
        if pointer not in self._right:
            for part in self._in_place(pointer):
                self.check(part, (*trail, pointer))
            self._right.add(pointer)

    def _in_place(self, pointer: str) -> Iterable[str]:
        """Yield the parts that the same value must be valid under, or not."""
        document, part = self._document, self._document.keywords(pointer)
        if "$ref" in part:
            yield document.target(pointer)
        for keyword in ("allOf", "anyOf", "oneOf"):
            for number in range(len(part.get(keyword, ()))):
                yield document.child(pointer, keyword, number)
        for keyword in ("not", "if", "then", "else"):
            if keyword in part:
                yield document.child(pointer, keyword)
        for keyword in ("dependentSchemas", "dependencies"):
            for name, wanted in part.get(keyword, {}).items():
                if not isinstance(wanted, list):
                    yield document.child(pointer, keyword, name)
