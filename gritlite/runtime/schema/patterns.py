"""The automata of a schema's patterns, and which parts a property's name leads to."""

from gritlite.errors import UsageError
from gritlite.runtime.schema.automaton import Automaton, TooLargeError
from gritlite.runtime.schema.document import Document
from gritlite.runtime.schema.matching import found_in
from gritlite.runtime.schema.pattern import PatternError, parse
from gritlite.runtime.schema.refusals import refusal


class Patterns:
    """Makes each pattern's automaton once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._made: dict[tuple[str, bool], Automaton] = {}

    def automaton(
        self, pattern: str, pointer: str, *, wide: bool, keyword: str = "pattern"
    ) -> Automaton:
        """Return the automaton of the texts in which a pattern is found.

        Raises UsageError, which names the pattern's keyword and place.
        """
        key = (pattern, wide)
        if key not in self._made:
            try:
                self._made[key] = found_in(parse(pattern, wide=wide))
            except (PatternError, TooLargeError) as error:
                raise self._refusal(pattern, pointer, keyword, str(error)) from error
        return self._made[key]

    def both(self, pattern: str, pointer: str) -> tuple[Automaton, Automaton]:
        """Return the names that surely match a pattern of `patternProperties`, and may match."""
        narrow, wide = (
            self.automaton(pattern, pointer, wide=wide, keyword="patternProperties")
            for wide in (False, True)
        )
        return narrow, wide

    def _refusal(self, pattern: str, pointer: str, keyword: str, problem: str) -> UsageError:
        shown = pattern if len(pattern) <= 60 else pattern[:57] + "..."
        return refusal(keyword, pointer, f"in the pattern {shown!r}, {problem}")

    def property_parts(self, pointer: str, name: str) -> list[str]:
        """Return the parts of an object's schema that a property's value must be valid under.

        Where dialects differ on whether a pattern matches the name, all parts that may
        apply are returned.
        """
        document, part = self._document, self._document.keywords(pointer)
        found = []
        surely = name in part.get("properties", ())
        if surely:
            found.append(document.child(pointer, "properties", name))
        for pattern in part.get("patternProperties", ()):
            sure, maybe = self.both(pattern, pointer)
            surely = surely or sure.accepts(name)
            if maybe.accepts(name):
                found.append(document.child(pointer, "patternProperties", pattern))
        if not surely and "additionalProperties" in part:
            found.append(document.child(pointer, "additionalProperties"))
        return found
