"""Which documents a search may find: a condition on their metadata, as SQL.

    {"author": "Smith"}                         equal
    {"year": {"$gte": 1990, "$lt": 2000}}       both
    {"author": "Smith", "draft": False}         both
    {"$or": [{"year": 1990}, {"tag": {"$in": ["inn", "ferry"]}}]}

The operators are those of chromadb and of MongoDB. Values compare with values of their own
type, int and float with each other; texts by their code points, which is the order of dates as
ISO 8601 writes them. A document without the name fulfils `$ne` and `$nin` and nothing else. Whole
conditions cannot be negated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gritlite.errors import UsageError
from gritlite.rag.metadata import check_name, check_value, stored

Where = Mapping[str, Any]

_MAX_DEPTH = 16  # of conditions in conditions; SQLite's parser has a limit
_MAX_TESTS = 256  # SQLite allows expressions of 1,000 operators
_MAX_VALUES = 10_000  # SQLite allows 32,766 parameters of a statement

_ORDERS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_GROUPS = {"$and": " and ", "$or": " or "}
OPERATORS = ("$eq", "$ne", *_ORDERS, "$in", "$nin")
_EXPECTED = f"{', '.join(OPERATORS)}; {' and '.join(_GROUPS)} take a list of whole conditions"


@dataclass(frozen=True)
class Clause:
    """An SQL condition on a row of `source`, and its parameters."""

    sql: str
    parameters: tuple[object, ...]


def read_where(where: object) -> Clause | None:
    """The condition that `where` means; None where it is None or empty: any document.

    Raises UsageError for what is no condition.
    """
    if where is None or where == {}:
        return None
    tests: list[Clause] = []
    sql = _all_of(where, tests.append, 1)
    parameters = tuple(value for test in tests for value in test.parameters)
    if len(tests) > _MAX_TESTS or len(parameters) > _MAX_VALUES:
        raise UsageError(
            f"where has {len(tests):,} tests with {len(parameters):,} names and values: expected "
            f"at most {_MAX_TESTS} and {_MAX_VALUES:,}"
        )
    return Clause(sql, parameters)


def _all_of(where: object, keep: Callable[[Clause], None], depth: int) -> str:
    """The SQL of a mapping, all of whose items must hold; `keep` is called with each test."""
    if not isinstance(where, Mapping) or not where:
        raise UsageError(
            f'where has {where!r} in place of a condition: expected one such as {{"author": "x"}}'
        )
    if depth > _MAX_DEPTH:
        raise UsageError(f"where has conditions in more than {_MAX_DEPTH} others")
    parts: list[str] = []
    for name, wanted in where.items():
        if name in _GROUPS:
            parts.append(_group(name, wanted, keep, depth))
        elif isinstance(name, str) and name.startswith("$"):
            raise UsageError(
                f"where has {name!r} in place of a name: expected one of {', '.join(_GROUPS)}, or "
                f"a name of metadata, whose operators are {_EXPECTED}"
            )
        else:
            check_name(name)
            for test in _tests(name, wanted):
                keep(test)
                parts.append(test.sql)
    return f"({' and '.join(parts)})"


def _group(name: str, members: object, keep: Callable[[Clause], None], depth: int) -> str:
    if not _is_list(members) or not members:
        raise UsageError(f"where has {name} without a list of conditions")
    assert isinstance(members, Sequence)
    return f"({_GROUPS[name].join(_all_of(member, keep, depth + 1) for member in members)})"


def _tests(name: str, wanted: object) -> Iterator[Clause]:
    """The tests of a name: that it equals a value, or one for each operator of a mapping."""
    if not isinstance(wanted, Mapping):
        wanted = {"$eq": wanted}
    if not wanted:
        raise UsageError(f"where has no operator for {name!r}: expected {_EXPECTED}")
    for operator, value in wanted.items():
        yield _test(name, operator, value)


def _test(name: str, operator: object, value: Any) -> Clause:
    if operator in ("$in", "$nin"):
        if not _is_list(value):
            raise UsageError(f"where has {operator} of {name!r} without a list of values")
        values = list(value)
    elif operator in OPERATORS:
        values = [value]
    else:
        raise UsageError(
            f"where has the operator {operator!r} of {name!r}: expected one of {_EXPECTED}"
        )
    for each in values:
        check_value(name, each)
    if operator in _ORDERS and isinstance(value, bool):
        raise UsageError(f"where has {operator} of {name!r} with a bool, which has no order")
    negated = "not " if operator in ("$ne", "$nin") else ""
    sql = f"source.id {negated}in (select source from metadata where name = ? and {{}})"
    return Clause(sql.format(_comparison(operator, values)), (name, *map(stored, values)))


def _comparison(operator: object, values: Sequence[object]) -> str:
    """The SQL that compares a value of metadata with one or several of the same type."""
    if operator not in _ORDERS:
        return f"value in ({', '.join('?' * len(values))})"  # values of other types differ
    assert isinstance(operator, str)
    types = "('text')" if isinstance(values[0], str) else "('integer', 'real')"
    return f"value {_ORDERS[operator]} ? and typeof(value) in {types}"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes)
