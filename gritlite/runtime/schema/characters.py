r"""Sets of characters as sorted ranges of code points.

They know which characters JSON text can hold (no surrogates) and what `\d`, `\s`, `\w`
and `.` mean in ECMA-262 and in Python's `re`. Where the two differ, a set is made twice:
narrow (what both match) and wide (what one of them matches).
"""

import sys
from collections.abc import Iterable
from functools import cache, lru_cache

Ranges = tuple[tuple[int, int], ...]

_REMEMBERED = 4096  # results of operations: automata ask for the same again and again
ALL: Ranges = ((0, 0xD7FF), (0xE000, sys.maxunicode))  # a lone surrogate is no character
_ASCII_SPACE = "\t\n\v\f\r "
# ECMA-262 WhiteSpace and LineTerminator
_ECMA_SPACE = "\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_ECMA_LINE_ENDS = "\n\r\u2028\u2029"


def ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Return the union of ranges, sorted and merged, without surrogates."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        elif low <= high:
            merged.append((low, high))
    return intersect(tuple(merged), ALL)


def of(letters: Iterable[str]) -> Ranges:
    """Return the set of some characters."""
    return ranges((ord(letter), ord(letter)) for letter in letters)


@lru_cache(_REMEMBERED)
def union(*sets: Ranges) -> Ranges:
    """Return the characters that are in any of the sets."""
    return ranges(pair for one in sets for pair in one)


@lru_cache(_REMEMBERED)
def intersect(first: Ranges, second: Ranges) -> Ranges:
    """Return the characters that are in both sets."""
    common = []
    i = j = 0
    while i < len(first) and j < len(second):
        low = max(first[i][0], second[j][0])
        high = min(first[i][1], second[j][1])
        if low <= high:
            common.append((low, high))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)


@lru_cache(_REMEMBERED)
def minus(first: Ranges, second: Ranges) -> Ranges:
    """Return the characters of the first set that are not in the second."""
    gaps, start = [], 0
    for low, high in second:
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    gaps.append((start, sys.maxunicode))
    return intersect(first, tuple(gaps))


def has(one: Ranges, letter: str) -> bool:
    """Return whether a character is in a set."""
    return any(low <= ord(letter) <= high for low, high in one)


def named(letter: str, *, wide: bool) -> Ranges:
    r"""Return the set of the class escape `\d`, `\s` or `\w` (or a capital), or of `.`."""
    if letter == ".":
        return minus(ALL, of("\n" if wide else _ECMA_LINE_ENDS))
    if letter.isupper():
        return minus(ALL, named(letter.lower(), wide=not wide))
    if letter == "s":
        both = of(_ASCII_SPACE + _ECMA_SPACE)
        return union(both, of("\x1c\x1d\x1e\x1f\x85\ufeff")) if wide else both
    if wide:
        return _unicode_class(letter)
    digits = ((ord("0"), ord("9")),)
    return digits if letter == "d" else union(digits, of("_"), ((65, 90), (97, 122)))


@cache
def _unicode_class(letter: str) -> Ranges:
    r"""Return what `\d` or `\w` matches in Python's `re`, whose classes cover Unicode."""
    inside = str.isdecimal if letter == "d" else _is_word
    found = (code for code in range(sys.maxunicode + 1) if inside(chr(code)))
    return ranges((code, code) for code in found)


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
