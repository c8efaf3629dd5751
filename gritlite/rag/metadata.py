"""A document's metadata: names and values that the caller gives, and that searches filter by.

Each is a row of its own, so that a filter compares numbers as numbers. SQLite has no type for
booleans: they are stored as one byte.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from gritlite.errors import UsageError
from gritlite.rag.database import Database

Value = str | int | float | bool
Metadata = Mapping[str, Value]

_BYTES = {False: b"\0", True: b"\1"}
_BOOLEANS = {stored: value for value, stored in _BYTES.items()}
_LARGEST = 2**63 - 1  # that SQLite's integers hold


def check_metadata(metadata: object) -> None:
    """Raise UsageError unless it is a mapping of names to values that can be stored."""
    if not isinstance(metadata, Mapping):
        raise UsageError(f"metadata is {type(metadata).__name__}: expected a mapping")
    for name, value in metadata.items():
        check_name(name)
        check_value(name, value)


def check_name(name: object) -> None:
    """Raise UsageError unless it can be the name of metadata."""
    if not isinstance(name, str) or not name or name.startswith("$") or not _is_text(name):
        raise UsageError(
            f"metadata has the name {name!r}: expected a text that is not empty and does not "
            "begin with $"
        )


def check_value(name: str, value: object) -> None:
    """Raise UsageError unless it can be the value of metadata of that name."""
    if not isinstance(value, get_args(Value)):
        raise UsageError(
            f"the metadata {name!r} is {type(value).__name__}: expected str, int, float or bool"
        )
    is_stored = (
        _is_text(value)
        if isinstance(value, str)
        else math.isfinite(value) and (isinstance(value, float) or abs(value) <= _LARGEST)
    )
    if not is_stored:
        raise UsageError(
            f"the metadata {name!r} is {value!r}: expected Unicode, a finite number, or an "
            "integer of 64 bits"
        )


def _is_text(text: str) -> bool:
    """Whether it is Unicode: Python's texts may hold half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def stored(value: Value) -> str | int | float | bytes:
    """A value as SQLite holds it."""
    return _BYTES[value] if isinstance(value, bool) else value


def same_metadata(one: Metadata, other: Metadata) -> bool:
    """Whether two have the same values of the same types: for Python, True equals 1."""
    first, second = (
        {name: (type(value), value) for name, value in each.items()} for each in (one, other)
    )
    return first == second


def write_metadata(database: Database, source: int, metadata: Metadata) -> None:
    """Replace the metadata of a source, within a transaction that seals it."""
    database.execute("delete from metadata where source = ?", (source,))
    database.execute_many(
        "insert into metadata values (?, ?, ?)",
        [(source, name, stored(value)) for name, value in metadata.items()],
    )


def metadata_rows(database: Database, source: int) -> list[tuple[Any, ...]]:
    """The stored names and values of a source, by name."""
    sql = "select name, value from metadata where source = ? order by name"
    return list(database.rows(sql, (source,)))


def as_metadata(database: Database, rows: Sequence[tuple[Any, ...]]) -> dict[str, Value]:
    """The metadata in stored rows. Raises FormatError for a value that gritlite did not write."""
    found: dict[str, Value] = {}
    for name, value in rows:
        if isinstance(value, bytes):
            value = _BOOLEANS.get(value)
        if not isinstance(name, str) or not isinstance(value, get_args(Value)):
            raise database.damaged("a value of metadata has the wrong type")
        found[name] = value
    return found
