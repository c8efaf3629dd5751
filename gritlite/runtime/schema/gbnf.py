"""The text of GBNF grammars: characters, literals, repetitions and rules.

Source: grammars/README.md of llama.cpp and its parser, src/llama-grammar.cpp. Its limits
are kept: a repetition unfolds to rules, and more than 2,000 of them are refused there, so
that large counts are put together from small ones here.
"""

from gritlite.errors import UsageError
from gritlite.runtime.schema.characters import Ranges
from gritlite.runtime.schema.clock import tick

MAX_RULES = 100_000
MAX_SIZE = 4_000_000  # characters: llama.cpp parses them in half a second
_BLOCK = 32  # repetitions that are written as one


class Grammar:
    """Rules in the making; equal rules are written once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._lines: list[str] = []
        self._size = 0
        # of the results for a rule and a number: halves are asked for again and again
        self._exact: dict[tuple[str, int], str] = {}
        self._bounded: dict[tuple[str, int], str] = {}

    def define(self, name: str, body: str) -> str:
        """Add a rule of a given name and return the name."""
        tick()
        self._lines.append(f"{name} ::= {body}")
        self._size += len(self._lines[-1])
        if len(self._lines) > MAX_RULES or self._size > MAX_SIZE:
            raise UsageError("the JSON schema needs too large a grammar: make it simpler")
        return name

    def rule(self, body: str) -> str:
        """Return the name of a rule with a body."""
        if body not in self._names:
            self._names[body] = f"r{len(self._names)}"
            self.define(self._names[body], body)
        return self._names[body]

    def repeated(self, item: str, low: int, high: int | None) -> str:
        """Return the text for a rule `low` to `high` times.

        "At most n" is "less than n/2, or n/2 and at most as many more": its size, and the
        number of readings that are open at any time, grow with the logarithm of n.
        """
        more = f"{item}*" if high is None else self._at_most(item, high - low)
        return " ".join(filter(None, (self._exactly(item, low), more)))

    def _exactly(self, item: str, count: int) -> str:
        if count <= _BLOCK:
            return f"{item}{{{count}}}" if count > 1 else item * count
        if (item, count) not in self._exact:
            half = self.rule(self._exactly(item, count // 2))
            self._exact[item, count] = f"{half} {half}" + f" {item}" * (count % 2)
        return self._exact[item, count]

    def _at_most(self, item: str, count: int) -> str:
        if count <= _BLOCK:
            return self.rule(f"{item}{{0,{count}}}") if count else ""
        if (item, count) not in self._bounded:
            half = (count + 1) // 2
            less, exact = self._at_most(item, half - 1), self._exactly(item, half)
            rest = self._at_most(item, count - half)
            self._bounded[item, count] = self.rule(f"{less} | {exact} {rest}")
        return self._bounded[item, count]

    def text(self) -> str:
        """Return the grammar."""
        return "\n".join(self._lines) + "\n"


def literal(text: str) -> str:
    """Return a text in quotes."""
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    return letter if letter.isprintable() else _escaped(ord(letter))


def letters(ranges: Ranges) -> str:
    """Return a set of characters in brackets.

    It lists what is in it, never what is not: for the first byte of a character llama.cpp
    cannot tell what `[^...]` excludes.
    """
    parts = []
    for low, high in ranges:
        parts.append(_in_class(low))
        if high > low:
            parts.append(f"-{_in_class(high)}")
    return "[" + "".join(parts) + "]"


def _in_class(code: int) -> str:
    return chr(code) if code < 128 and chr(code).isalnum() else _escaped(code)


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
