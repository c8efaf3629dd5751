r"""Regular expressions of the keyword `pattern`: parsed to a tree.

The syntax is what ECMA-262, Python's `re` and Rust's `regex` (pydantic) agree on:
alternation, groups, classes, escapes, quantifiers and the anchors `^` and `$`. What is not
regular (lookaround, backreferences) or differs between them (flags, `\b`, `\p`) is
refused by name. It knows nothing of JSON.
"""

import re
from dataclasses import dataclass

from gritlite.runtime.schema import characters
from gritlite.runtime.schema.characters import Ranges

MAX_LENGTH = 10_000  # characters of a pattern
MAX_GROUPS = 100  # groups inside each other
MAX_COUNT = 10_000  # of a quantifier

_QUANTIFIER = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_GROUP = re.compile(r"\?(?::|P?<[A-Za-z_][A-Za-z_0-9]*>)")
_HEX = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}")


class PatternError(ValueError):
    """A pattern is wrong or not supported; the text says what and where."""


@dataclass(frozen=True)
class Letters:
    """One character out of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Anchor:
    """The beginning (`^`) or the end (`$`) of the text."""

    sign: str


@dataclass(frozen=True)
class Sequence:
    """Parts that follow each other; none match the empty text."""

    parts: tuple["Tree", ...]


@dataclass(frozen=True)
class Choice:
    """One of several alternatives."""

    options: tuple["Tree", ...]


@dataclass(frozen=True)
class Repeat:
    """A part `low` to `high` times, or without end where `high` is None."""

    part: "Tree"
    low: int
    high: int | None


Tree = Letters | Anchor | Sequence | Choice | Repeat


def parse(pattern: str, *, wide: bool) -> Tree:
    """Return the tree of a pattern. Raises PatternError.

    Where the dialects differ, `wide` matches what any of them matches, otherwise what all do.
    """
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"it has more than {MAX_LENGTH} characters")
    reader = _Reader(pattern, wide)
    tree = reader.choice(0)
    if reader.place < len(pattern):
        raise reader.error("this parenthesis was not opened")
    return tree


class _Reader:
    """A recursive-descent parser."""

    def __init__(self, text: str, wide: bool) -> None:
        self.text = text
        self.place = 0
        self._wide = wide

    def error(self, problem: str) -> PatternError:
        return PatternError(f"{problem}, at character {self.place + 1}")

    def _take(self, text: str) -> bool:
        found = self.text.startswith(text, self.place)
        self.place += len(text) * found
        return found

    def _next(self) -> str:
        letter = self.text[self.place : self.place + 1]
        if not letter:
            raise self.error("it ends too early")
        self.place += 1
        return letter

    def choice(self, depth: int) -> Tree:
        if depth > MAX_GROUPS:
            raise self.error(f"more than {MAX_GROUPS} groups are open")
        options = [self._sequence(depth)]
        while self._take("|"):
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Tree:
        parts: list[Tree] = []
        while self.place < len(self.text) and self.text[self.place] not in "|)":
            parts.append(self._repeated(self._item(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _item(self, depth: int) -> Tree:
        letter = self._next()
        if letter in "^$":
            return self._anchor(letter)
        if letter == "(":
            return self._group(depth)
        if letter == "[":
            return Letters(self._class())
        if letter == ".":
            return Letters(characters.named(".", wide=self._wide))
        if letter == "\\":
            return Letters(self._escape())
        if letter in "*+?" or (letter == "{" and self._quantifier(self.place - 1)):
            self.place -= 1
            raise self.error("there is nothing to repeat")
        return Letters(characters.of(letter))

    def _anchor(self, sign: str) -> Tree:
        if sign == "^" or not self._wide:
            return Anchor(sign)
        # Python's `$` also matches before a line end that is the last character
        if self.text[self.place : self.place + 1] not in ("", "|", ")"):
            raise self.error("inside `not`, something after `$` is not supported")
        line_end = Repeat(Letters(characters.of("\n")), 0, 1)
        return Sequence((line_end, Anchor("$")))

    def _group(self, depth: int) -> Tree:
        if self.text.startswith(("?=", "?!", "?<=", "?<!"), self.place):
            raise self.error("lookaround is not supported")
        if start := _GROUP.match(self.text, self.place):
            self.place = start.end()
        elif self.text.startswith("?", self.place):
            raise self.error("this kind of group (flags, backreferences) is not supported")
        tree = self.choice(depth + 1)
        if not self._take(")"):
            raise self.error("a parenthesis is not closed")
        return tree

    def _quantifier(self, place: int) -> re.Match[str] | None:
        found = _QUANTIFIER.match(self.text, place)
        if found and found[0][0] == "{" and not found[1]:
            if found[2]:  # `{,5}` is ordinary text in ECMA-262, but not in Python
                raise self.error("a quantifier without its lower bound differs between dialects")
            return None
        return found

    def _repeated(self, part: Tree) -> Tree:
        found = self._quantifier(self.place)
        if found is None:
            return part
        if isinstance(part, Anchor):
            raise self.error("an anchor cannot be repeated")
        self.place = found.end()
        low, high = _bounds(found)
        if max(low, high or 0) > MAX_COUNT:
            raise self.error(f"more than {MAX_COUNT} repetitions")
        if high is not None and high < low:
            raise self.error("a quantifier's bounds are in the wrong order")
        self._take("?")  # lazy or not, the same texts match
        if self._quantifier(self.place):
            raise self.error("a quantifier after a quantifier is not supported")
        return Repeat(part, low, high)

    def _class(self) -> Ranges:
        inverted = self._take("^")
        # what an inverted class leaves out must be wide for the class to be narrow
        wide, self._wide = self._wide, self._wide != inverted
        found: list[Ranges] = []
        if self.text.startswith("]", self.place):
            raise self.error("a class that begins with ']' differs between dialects: write \\]")
        while not self._take("]"):
            if self.text.startswith(("[:", "[=", "[."), self.place):
                raise self.error("POSIX classes are not supported")
            if self.text.startswith(("&&", "--", "~~", "||"), self.place):
                raise self.error("operations on sets are not supported")
            found.append(self._class_item())
        self._wide = wide
        union = characters.union(*found)
        return characters.minus(characters.ALL, union) if inverted else union

    def _class_item(self) -> Ranges:
        first = self._class_letter()
        if not self.text.startswith("-", self.place) or self.text.startswith("-]", self.place):
            return first
        self.place += 1
        last = self._class_letter()
        if not (_is_single(first) and _is_single(last)):
            raise self.error("a class cannot be the end of a range")
        if first and last and first[0][0] > last[0][0]:
            raise self.error("a range's ends are in the wrong order")
        return characters.ranges([(first[0][0], last[0][0])])

    def _class_letter(self) -> Ranges:
        letter = self._next()
        if letter != "\\":
            return characters.of(letter)
        return characters.of("\b") if self._take("b") else self._escape()

    def _escape(self) -> Ranges:
        if code := _HEX.match(self.text, self.place):
            self.place = code.end()
            return self._code_point(int(code[1] or code[2] or code[3], 16))
        letter = self._next()
        if letter in "dDsSwW":
            return characters.named(letter, wide=self._wide)
        if letter in _CONTROLS and not (letter == "0" and self.text[self.place :][:1].isdigit()):
            return characters.of(_CONTROLS[letter])
        if letter.isalnum() or letter == "_":
            kind = "a backreference" if letter.isdigit() or letter == "k" else "the escape"
            raise self.error(f"{kind} \\{letter} is not supported")
        return characters.of(letter)

    def _code_point(self, code: int) -> Ranges:
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            raise self.error(f"U+{code:04X} is not a character")
        return characters.of(chr(code))


def _is_single(found: Ranges) -> bool:
    return len(found) == 1 and found[0][0] == found[0][1]


def _bounds(quantifier: re.Match[str]) -> tuple[int, int | None]:
    sign = quantifier[0][0]
    if sign != "{":
        return int(sign == "+"), 1 if sign == "?" else None
    # more digits than the limit's are too many anyway, and int() refuses thousands of them
    low = int(quantifier[1][-9:]) if len(quantifier[1]) < 9 else MAX_COUNT + 1
    high = int(quantifier[3]) if 0 < len(quantifier[3]) < 9 else None
    if quantifier[3] and high is None:
        high = MAX_COUNT + 1
    return low, high if quantifier[2] else low
