"""What is wrong with a request's fields, in one plain message: pydantic's errors in JSON's words.

pydantic speaks of Python's types, and where a value may be of several it tells for each of them
why the value is not that one. The module does not know what fields there are.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LONGEST = 50  # characters of a text that is shown
_MOST = 20  # errors that are looked at: lists end at their first, so a field has fewer
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "int_parsing_size": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "a boolean",
    "bool_parsing": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
    "string_too_short": "{min_length} or more characters",
    "literal_error": "{expected}",
}


@dataclass(frozen=True)
class WrongField:
    """A field that is wrong, by its path as OpenAI writes it, `messages[0].content`.

    `path` is None where the body is no object.
    """

    path: str | None
    message: str
    code: str


@dataclass(frozen=True)
class _Problem:
    """One of pydantic's errors.

    `place` leads to the value, by names and numbers, and by pydantic's name of a type where that is
    one of several that a value may have. `types` are the positions of these.
    """

    kind: str
    given: Any
    context: Mapping[str, Any]
    told: str
    place: tuple[int | str, ...]
    types: tuple[int, ...]

    @property
    def path(self) -> str:
        """The place as OpenAI writes it."""
        text = ""
        for position, part in enumerate(self.place):
            if isinstance(part, int):
                text += f"[{part}]"
            elif position not in self.types:
                text += f".{_short(part)}" if text else _short(part)
        return text

    @property
    def expected(self) -> str | None:
        """What the value should have been; None for a kind that is not in the table."""
        words = _EXPECTED.get(self.kind)
        return None if words is None else words.format_map(self.context)


def wrong_field(errors: Sequence[Mapping[str, Any]], body: object) -> WrongField:
    """The first field of a body that pydantic's errors are about."""
    told = _told([_problem(error, body) for error in errors[:_MOST]])
    first = told[0]
    path = first.path
    if not path:
        return WrongField(None, "the body is not a JSON object", "invalid_body")
    if first.kind == "missing":
        return WrongField(path, f"{path} is missing", "missing_required_parameter")
    return WrongField(path, _message(path, told), "invalid_value")


def _message(path: str, told: Sequence[_Problem]) -> str:
    first = told[0]
    if first.kind == "extra_forbidden":
        return f"{path}: there is no such field here"
    if _is_too_large(first):
        return f"{path}: the number is too large"
    expected = list(dict.fromkeys(each.expected for each in told if each.expected))
    if not expected:
        return f"{path}: {first.told}"
    *others, last = expected
    words = f"{', '.join(others)} or {last}" if others else last
    return f"{path} is {_shown(first.given)}: expected {words}"


def _problem(error: Mapping[str, Any], body: object) -> _Problem:
    place = tuple(error["loc"][1:])  # without "body"
    types = tuple(_types(place, body, is_missing=error["type"] == "missing"))
    context = error.get("ctx", {})
    return _Problem(error["type"], error.get("input"), context, error["msg"], place, types)


def _types(place: Sequence[int | str], body: object, *, is_missing: bool) -> Iterator[int]:
    """The positions in a place of what leads no further into the body: names of types."""
    value: Any = body
    for position, part in enumerate(place):
        is_in_list = isinstance(value, list) and isinstance(part, int)
        if is_in_list or (isinstance(value, dict) and part in value):
            value = value[part]
        elif not (is_missing and position == len(place) - 1):
            yield position


def _told(problems: Sequence[_Problem]) -> Sequence[_Problem]:
    """The problems to tell: one, or those of a value that has none of the types it may have.

    A value of one of the types may have a problem inside, which is the one to tell.
    """
    first, start = problems[0], 0
    while True:
        position = next((each for each in first.types if each >= start), None)
        if position is None:
            return [first]
        stem = first.place[:position]
        rivals = [each for each in problems if each.place[:position] == stem]
        inside = [each for each in rivals if len(each.place) > position + 1]
        if not inside:
            return rivals
        first, start = inside[0], position + 1


def _is_too_large(problem: _Problem) -> bool:
    """Whether a number is larger than a float can be.

    Python reads one with a fraction or an exponent as infinity. Of an integer pydantic says that
    it is no number.
    """
    given = problem.given
    if isinstance(given, float):
        return math.isinf(given)
    return problem.kind == "float_type" and isinstance(given, int) and not isinstance(given, bool)


def _shown(value: object) -> str:
    """A value in JSON's words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"a string of {len(value):,} characters"
    return repr(value)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
