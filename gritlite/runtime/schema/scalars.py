"""What the plain keywords of a branch say about numbers and strings, as automata."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gritlite.runtime.schema import automaton, numbers
from gritlite.runtime.schema.automaton import EVERYTHING, NOTHING, Automaton, TooLargeError
from gritlite.runtime.schema.branches import types
from gritlite.runtime.schema.document import Document
from gritlite.runtime.schema.numbers import NumberError
from gritlite.runtime.schema.patterns import Patterns
from gritlite.runtime.schema.refusals import refusal
from gritlite.runtime.schema.values import is_number

_LIMITS = (("minimum", "exclusiveMinimum", True), ("maximum", "exclusiveMaximum", False))


@dataclass(frozen=True)
class Text:
    """Strings of `low` to `high` characters; those of an automaton where it is not None."""

    low: int = 0
    high: int | None = None
    automaton: Automaton | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no such string."""
        if self.automaton is not None:
            return self.automaton.is_empty
        return self.high is not None and self.high < self.low


class Scalars:
    """Reads numbers and strings out of parts of one schema."""

    def __init__(self, document: Document, patterns: Patterns) -> None:
        self._document = document
        self._patterns = patterns

    def listed(self, parts: Iterable[str]) -> list[Any] | None:
        """Return the values of the parts' `enum` or `const`, None without one.

        They are valid under all the parts' own enums, but perhaps not under other keywords.
        """
        for pointer in parts:
            part = self._document.keywords(pointer)
            if "const" in part:
                return [part["const"]]
            if "enum" in part:
                return list(part["enum"])
        return None

    def number(self, parts: tuple[str, ...], *, wide: bool) -> Automaton:
        """Return the numbers that parts allow, without an exponent.

        `wide` may allow more (for what is forbidden), otherwise less. Raises UsageError.
        """
        keywords = [self._document.keywords(pointer) for pointer in parts]
        integer = "integer" in types(keywords)
        limits = [limit for pointer in parts for limit in self._limits(pointer, wide)]
        if wide:
            found = _within(EVERYTHING, limits)
        else:
            sizes = [len(f"{abs(limit):f}".partition(".")[0]) for _, limit in limits]
            digits = max([numbers.DIGITS, *sizes])
            found = _within(numbers.written(digits if integer else numbers.DIGITS), limits)
            if found.is_empty:
                found = _within(numbers.written(digits), limits)
        if integer:
            found = automaton.both(found, numbers.whole(wide=wide))
        listed = self.listed(parts)
        if listed is not None and wide:
            found = automaton.both(found, _near(listed))
        for pointer in parts:
            if not wide:
                found = self._multiples(found, pointer)
        return found

    def _limits(self, pointer: str, wide: bool) -> Iterable[tuple[bool, Decimal]]:
        part = self._document.keywords(pointer)
        for keyword, exclusive, lower in _LIMITS:
            strict = part.get(exclusive) is True  # draft 4
            for name in (keyword, exclusive):
                value: Any = part.get(name)
                if not is_number(value) or numbers.is_far(value, lower=lower):
                    continue
                try:
                    outside = strict or name == exclusive
                    yield lower, numbers.bound(value, lower=lower, exclusive=outside, wide=wide)
                except NumberError as error:
                    raise refusal(name, pointer, str(error)) from error

    def _multiples(self, found: Automaton, pointer: str) -> Automaton:
        factor = self._document.keywords(pointer).get("multipleOf")
        if factor is None or found.is_empty:
            return found
        try:
            multiples = numbers.multiples(Decimal(repr(factor)))
            return automaton.both(found, multiples)
        except (NumberError, TooLargeError) as error:
            raise refusal("multipleOf", pointer, str(error)) from error

    def text(self, parts: tuple[str, ...], *, wide: bool) -> Text:
        """Return the strings that parts allow; `wide` as in `number`. Raises UsageError."""
        low, high = 0, None
        found: Automaton | None = None
        patterned = "#"
        for pointer in parts:
            part = self._document.keywords(pointer)
            low = max(low, int(part.get("minLength", 0)))
            if "maxLength" in part:
                high = min(int(part["maxLength"]), high if high is not None else 2**63)
            if "pattern" in part:
                patterned = pointer
                more = self._patterns.automaton(part["pattern"], pointer, wide=wide)
                found = self.joined(found or EVERYTHING, more, "pattern", pointer)
        listed = self.listed(parts)
        if listed is not None:
            words = [value for value in listed if isinstance(value, str)]
            return Text(automaton=automaton.texts(words))
        if found is None:
            return Text(low, high)
        try:
            return Text(automaton=automaton.limited(found, low, high))
        except TooLargeError as error:
            reason = f"together with the length's bounds {error}"
            raise refusal("pattern", patterned, reason) from error

    def joined(self, first: Automaton, second: Automaton, keyword: str, pointer: str) -> Automaton:
        """Return what two automata both accept. Raises UsageError, which names a keyword."""
        try:
            return automaton.both(first, second)
        except TooLargeError as error:
            raise refusal(keyword, pointer, str(error)) from error

    def without(self, first: Text, second: Text, pointer: str) -> Text:
        """Return the strings of the first set that are not in the second."""
        if first.is_empty or second.is_empty:
            return first
        if second.automaton is None and second.low == 0 and second.high is None:
            return Text(automaton=NOTHING)
        try:
            one, other = as_automaton(first), as_automaton(second)
            return Text(automaton=automaton.without(one, other))
        except TooLargeError as error:
            raise refusal("not", pointer, f"for strings {error}") from error


def _within(found: Automaton, limits: list[tuple[bool, Decimal]]) -> Automaton:
    for lower, limit in limits:
        bounded = numbers.at_least(limit) if lower else numbers.at_most(limit)
        found = automaton.both(found, bounded)
    return found


def as_automaton(text: Text) -> Automaton:
    """Return the automaton of a set of strings. Raises TooLargeError."""
    if text.automaton is not None:
        return text.automaton
    return NOTHING if text.is_empty else automaton.lengths(text.low, text.high)


def _near(listed: list[Any]) -> Automaton:
    """Return the ways to write the numbers of a list, and perhaps their nearest neighbours."""
    found = NOTHING
    for value in filter(is_number, listed):
        low = numbers.bound(value, lower=True, exclusive=False, wide=True)
        high = numbers.bound(value, lower=False, exclusive=False, wide=True)
        same = automaton.both(numbers.at_least(low), numbers.at_most(high))
        found = automaton.either(found, same)
    return found
