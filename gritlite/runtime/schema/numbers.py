"""Numbers as text: automata of decimal numbers with bounds and factors.

Numbers are written without an exponent, with at most 15 significant digits unless their
bounds need more integer digits: 15 decimal digits survive the way through a double
(IEEE 754), so that a reader sees the number that was written and bounds hold exactly.
A number that an automaton of this module is asked about is well-formed JSON.
"""

import math
from collections.abc import Callable, Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

from gritlite.runtime.schema import automaton, characters
from gritlite.runtime.schema.automaton import Automaton
from gritlite.runtime.schema.characters import Ranges

DIGITS = 15  # significant decimal digits that every double keeps
MAX_DIGITS = 100  # of a bound, before and after the point
MAX_FACTOR = 500

_DIGIT = {digit: characters.of(str(digit)) for digit in range(10)}
_POINT = characters.of(".")
_MINUS = characters.of("-")

State = tuple[str, int, int]  # of an automaton here: a phase and two counts
Steps = Iterable[tuple[Ranges, State]]


class NumberError(ValueError):
    """Numbers cannot be held to a constraint; the text says which."""


def written(digits: int = DIGITS, decimals: int = DIGITS) -> Automaton:
    """Return all numbers with up to `digits` integer digits and `decimals` after the point.

    Integer digits and decimals are at most DIGITS together, unless `digits` is larger.
    """

    def step(state: State) -> Steps:
        phase, count, room = state
        if phase == "start":
            yield _MINUS, ("minus", 0, 0)
        if phase in ("start", "minus"):
            yield _DIGIT[0], ("zero", 0, decimals)
            for digit in range(1, 10):
                yield _DIGIT[digit], ("integer", 1, 0)
        elif phase == "integer" and count < digits:
            for digit in range(10):
                yield _DIGIT[digit], ("integer", count + 1, 0)
        if phase in ("zero", "integer"):
            left = min(decimals, DIGITS - count)
            if left > 0:
                yield _POINT, ("point", 0, left)
        elif phase in ("point", "fraction") and room:
            for digit in range(10):
                yield _DIGIT[digit], ("fraction", 0, room - 1)

    return automaton.explore(
        ("start", 0, 0), step, lambda state: state[0] in ("zero", "integer", "fraction")
    )


def whole(*, wide: bool) -> Automaton:
    """Return the integers: narrow without a point and "-0", wide also as `5.0`."""

    def step(state: State) -> Steps:
        phase = state[0]
        if phase == "start":
            yield _MINUS, ("minus", 0, 0)
            yield _DIGIT[0], ("zero", 0, 0)
        if phase == "minus" and wide:
            yield _DIGIT[0], ("zero", 0, 0)
        if phase in ("start", "minus"):
            yield characters.ranges([(49, 57)]), ("integer", 0, 0)
        elif phase == "integer":
            yield characters.ranges([(48, 57)]), state
        if wide and phase in ("zero", "integer"):
            yield _POINT, ("point", 0, 0)
        elif phase in ("point", "fraction"):
            yield _DIGIT[0], ("fraction", 0, 0)

    return automaton.explore(
        ("start", 0, 0), step, lambda state: state[0] in ("zero", "integer", "fraction")
    )


def at_least(bound: Decimal) -> Automaton:
    """Return the numbers that are not less than a bound."""
    if bound > 0:
        return _compared(bound, negative=None, positive=lambda sign: sign >= 0)
    return _compared(-bound, negative=lambda sign: sign <= 0, positive=lambda _: True)


def at_most(bound: Decimal) -> Automaton:
    """Return the numbers that are not greater than a bound."""
    if bound < 0:
        return _compared(-bound, negative=lambda sign: sign >= 0, positive=None)
    return _compared(bound, negative=lambda _: True, positive=lambda sign: sign <= 0)


Verdict = Callable[[int], bool] | None


def _compared(bound: Decimal, *, negative: Verdict, positive: Verdict) -> Automaton:
    """Return the numbers whose magnitude compares with a bound as a verdict wants.

    A state's two counts are the digits read, and whether what was read is less than,
    equal to or greater than the bound's beginning (-1, 0, 1). The phase's last letter is
    the number's sign.
    """
    whole_part, _, fraction = f"{bound:f}".partition(".")
    fraction = fraction.rstrip("0")
    size = len(whole_part)

    def step(state: State) -> Steps:
        phase, count, sign = state
        if phase == "start":
            yield _MINUS, ("integer-", 0, 0)
            yield from step(("integer+", 0, 0))
            return
        part = whole_part if phase.startswith("integer") else fraction
        for digit in range(10):
            beyond = "0" if phase.startswith("fraction") else "/"  # "/" is less than any digit
            other = part[count] if count < len(part) else beyond
            after = sign or (str(digit) > other) - (str(digit) < other)
            if count >= size and phase.startswith("integer"):
                after = 1
            yield _DIGIT[digit], (phase, min(count + 1, len(part) + 1), after)
        if phase.startswith("integer"):
            yield _POINT, ("fraction" + phase[-1], 0, _size_first(count, size, sign))

    def accepts(state: State) -> bool:
        phase, count, sign = state
        if phase.startswith("integer"):
            sign = _size_first(count, size, sign)
            count = 0
        if sign == 0 and count < len(fraction):
            sign = -1
        verdict = negative if phase.endswith("-") else positive
        return phase != "start" and verdict is not None and verdict(sign)

    return automaton.explore(("start", 0, 0), step, accepts)


def _size_first(count: int, size: int, sign: int) -> int:
    """Compare two integers, which begin with no zero, by their sizes before their digits."""
    return (count > size) - (count < size) or sign


def multiples(factor: Decimal) -> Automaton:
    """Return the multiples of an integer or of a fraction such as 0.25 that a double keeps.

    Raises NumberError for others: 0.07 is no multiple of 0.01 in binary floating point,
    where validators divide.
    """
    exact = Fraction(factor)
    if exact.denominator & (exact.denominator - 1):
        raise NumberError(
            f"{factor} has no exact binary form, so that validators disagree about its "
            "multiples: use an integer, or a fraction such as 0.5 or 0.25"
        )
    decimals = exact.denominator.bit_length() - 1
    modulus = int(exact * 10**decimals)
    if modulus > MAX_FACTOR:
        raise NumberError(f"multiples of {factor} need too large a grammar")

    def step(state: State) -> Steps:
        phase, rest, count = state
        if phase == "start":
            yield _MINUS, ("integer", 0, 0)
        if phase != "fraction" or count < decimals:
            more = int(phase == "fraction")
            after = "fraction" if more else "integer"
            for digit in range(10):
                yield _DIGIT[digit], (after, (rest * 10 + digit) % modulus, count + more)
        if phase == "integer" and decimals:
            yield _POINT, ("fraction", rest, 0)

    def accepts(state: State) -> bool:
        phase, rest, count = state
        return phase != "start" and rest * 10 ** (decimals - count) % modulus == 0

    return automaton.explore(("start", 0, 0), step, accepts)


def bound(value: int | float, *, lower: bool, exclusive: bool, wide: bool) -> Decimal:
    """Return a bound as a decimal number that belongs to the range, rounded to DIGITS decimals.

    The range becomes smaller by rounding, or larger if `wide`. Raises NumberError.
    """
    context = Context(prec=400)
    decimal = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    if exclusive and not wide:
        decimal = _beside(value, lower=lower)
    if abs(decimal) >= Decimal(10) ** MAX_DIGITS:
        raise NumberError(f"{value} has more than {MAX_DIGITS} digits")
    up = lower != wide
    step = Decimal(1).scaleb(-DIGITS)
    return decimal.quantize(step, ROUND_CEILING if up else ROUND_FLOOR, context)


def _beside(value: int | float, *, lower: bool) -> Decimal:
    """Return a number just inside an exclusive bound that no reader mistakes for the bound."""
    inside = math.inf if lower else -math.inf
    if isinstance(value, int) and abs(value) < 10**DIGITS:
        return Decimal(math.nextafter(value, inside))
    if isinstance(value, int):  # larger numbers are written without decimals
        return Decimal(value + (1 if lower else -1))
    return Decimal(math.nextafter(value, inside))


def is_far(value: int | float, *, lower: bool) -> bool:
    """Return whether a bound lies beyond every number that is written, so that it always holds."""
    return bool(value <= -(10**MAX_DIGITS) if lower else value >= 10**MAX_DIGITS)
