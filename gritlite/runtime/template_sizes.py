"""How large the result of one step of a template can become, told before the step is taken.

The steps are operators, filters and methods whose result may be much larger than what goes
in. An upper bound is enough. It knows nothing of chats.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.utils import Namespace

_DIGITS = re.compile(r"[0-9]{3,}")
_NESTED_FIELD = re.compile(r"\{[^{}]*\{")

Args = tuple[Any, ...]
Bound = Callable[[Any, Args, Mapping[str, Any]], int]


def weigh(value: Any, limit: int) -> int:
    """Return about how many characters a value has as text, or more than `limit`.

    A part that is in a value twice counts twice, as in its text.
    """
    if isinstance(value, str | bytes):
        return len(value)
    total, todo = 0, [value]
    while todo and total <= limit:
        one = todo.pop()
        total += len(one) if isinstance(one, str | bytes) else 4
        if isinstance(one, Namespace):
            one = object.__getattribute__(one, "_Namespace__attrs")
        if isinstance(one, Mapping):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            todo += one
    return total


def of_operator(operator: str, left: Any, right: Any) -> int:
    """Return a bound for the characters, items or binary digits of `left operator right`."""
    if operator == "%" and isinstance(left, str | bytes):
        return _percent(str(left), (right,))
    if operator == "**":
        return _bits(left) * abs(right) if isinstance(right, int) else 64
    if operator == "*":
        times = right if isinstance(right, int) else left
        other = left if times is right else right
        if isinstance(other, str | bytes | list | tuple) and isinstance(times, int):
            return max(times, 0) * (
                len(other) if isinstance(other, str | bytes) else 8 * len(other)
            )
        return _bits(left) + _bits(right)
    if isinstance(left, str | bytes | list | tuple) and isinstance(right, type(left)):
        return len(left) + len(right)
    return max(_bits(left), _bits(right))


def of_filter(name: str, value: Any, args: Args, named: Mapping[str, Any], limit: int) -> int:
    """Return a bound for what a filter makes, 0 for one that makes nothing larger."""
    if name in _SLOW_FILTERS and weigh(value, limit) > _SLOW_INPUT:
        return limit + 1
    if name in _MAKING_TEXT and weigh(value, limit) > limit:
        return limit + 1
    return _FILTERS[name](value, args, named) if name in _FILTERS else 0


def of_method(name: str, owner: Any, args: Args, named: Mapping[str, Any]) -> int:
    """Return a bound for what a method of a string makes, 0 if it makes nothing larger."""
    return _METHODS[name](owner, args, named) if name in _METHODS else 0


def of_format(template: str, args: Args, named: Mapping[str, Any]) -> int:
    """Return a bound for `template.format(*args, **named)`."""
    values = (*args, *named.values())
    one = sum(weigh(value, 1 << 40) for value in values) + _numbers(template)
    if _NESTED_FIELD.search(template):  # a width may be an argument
        one += sum(abs(value) for value in values if isinstance(value, int))
    return len(template) + template.count("{") * one


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 64


def _numbers(template: str) -> int:
    return sum(int(found[:12]) for found in _DIGITS.findall(template))


def _percent(template: str, args: Args) -> int:
    values = args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
    one = sum(weigh(value, 1 << 40) for value in values) + _numbers(template)
    if "*" in template:
        one += sum(abs(value) for value in values if isinstance(value, int))
    return len(template) + template.count("%") * one


def _argument(args: Args, named: Mapping[str, Any], place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else named.get(name, default)


def _count(value: Any) -> int:
    """Return a number of characters, given as a number or as a text to repeat."""
    return abs(value) if isinstance(value, int) else len(value) if isinstance(value, str) else 0


def _width(place: int, name: str, default: int) -> Bound:
    return lambda value, args, named: (
        weigh(value, 1 << 40) + _count(_argument(args, named, place, name, default))
    )


def _replaced(value: Any, args: Args, named: Mapping[str, Any]) -> int:
    text = str(value)
    old, new = (str(_argument(args, named, i, name, "")) for i, name in enumerate(("old", "new")))
    return len(text) + (text.count(old) if old else len(text) + 1) * len(new)


def _joined(items: Any, separator: str) -> int:
    return sum(weigh(item, 1 << 40) + len(separator) for item in items)


def _indented(value: Any, args: Args, named: Mapping[str, Any]) -> int:
    text = str(value)
    return len(text) + (text.count("\n") + 1) * _count(_argument(args, named, 0, "width", 4))


def _wrapped(value: Any, args: Args, named: Mapping[str, Any]) -> int:
    ends = _argument(args, named, 2, "wrapstring", None) or "\n"
    return (len(str(value)) + 1) * (len(str(ends)) + 1)


def _translated(value: Any, args: Args, _named: Mapping[str, Any]) -> int:
    table = args[0] if args and isinstance(args[0], Mapping) else {}
    return len(value) * max((weigh(to, 1 << 40) for to in table.values()), default=1)


def _sum_start(_value: Any, args: Args, named: Mapping[str, Any]) -> int:
    start = _argument(args, named, 1, "start", 0)
    return 0 if isinstance(start, int | float) else 1 << 40  # lists would be copied again and again


_FILTERS: dict[str, Bound] = {
    "center": _width(0, "width", 80),
    "truncate": _width(3, "leeway", 0),
    "round": lambda _value, args, named: 100 * _count(_argument(args, named, 0, "precision", 0)),
    "indent": _indented,
    "replace": _replaced,
    "wordwrap": _wrapped,
    "format": lambda value, args, named: _percent(str(value), (*args, *named.values())),
    "join": lambda value, args, named: _joined(value, str(_argument(args, named, 0, "d", ""))),
    "batch": lambda _value, args, named: 8 * _count(_argument(args, named, 0, "linecount", 0)),
    "slice": lambda _value, args, named: 8 * _count(_argument(args, named, 0, "slices", 0)),
    "tojson": lambda value, args, named: (
        weigh(value, 1 << 40) * (1 + 10 * _count(named.get("indent") or (args[1:] or (0,))[0]))
    ),
    "sum": _sum_start,
}
# their time grows faster than their input
_SLOW_FILTERS = frozenset(["striptags", "urlize", "pprint", "wordwrap", "xmlattr"])
_SLOW_INPUT = 100_000
# they write all of their input as text
_MAKING_TEXT = frozenset(
    """string escape e forceescape urlencode upper lower title capitalize trim replace indent
    center truncate wordcount safe tojson format""".split()  # noqa: SIM905 - shorter so
)
_METHODS: dict[str, Bound] = {
    "center": _width(0, "width", 0),
    "ljust": _width(0, "width", 0),
    "rjust": _width(0, "width", 0),
    "zfill": _width(0, "width", 0),
    "expandtabs": lambda text, args, named: (
        len(text) + (text.count("\t") * _count(_argument(args, named, 0, "tabsize", 8)))
    ),
    "replace": _replaced,
    "join": lambda text, args, _named: _joined(args[0] if args else (), text),
    "translate": _translated,
}
