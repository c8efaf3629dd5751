"""Conditions on metadata: the right documents, compared with Python's own operators; errors."""

import operator
import random
from typing import Any

import pytest

from gritlite.errors import UsageError
from gritlite.rag.database import Database
from gritlite.rag.metadata import write_metadata
from gritlite.rag.where import OPERATORS, read_where

NAMES = ("author", "year", "a 'quoted' name", "größe")
VALUES = (
    *("", "Smith", "smith", "Ärger", "10", "9", "2024-05-01", "a\0b", "a\0c", "1", "x" * 300),
    *(0, 1, -1, 10, 9, 2**53, 2**53 + 1, -(2**63) + 1, 2**63 - 1),
    *(0.1 + 0.2, 0.3, 1.0, -0.0, 1e300, 5e-324, float(2**53)),
    *(True, False),
)
ORDERS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def kind(value: object) -> str:
    """The type whose values compare with each other."""
    return "number" if type(value) in (int, float) else type(value).__name__


def equal(one: object, other: object) -> bool:
    return kind(one) == kind(other) and one == other


def holds(where: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """What `where` should mean, written again without SQL."""
    return all(item_holds(name, wanted, metadata) for name, wanted in where.items())


def item_holds(name: str, wanted: Any, metadata: dict[str, Any]) -> bool:
    if name == "$and":
        return all(holds(each, metadata) for each in wanted)
    if name == "$or":
        return any(holds(each, metadata) for each in wanted)
    tests = wanted if isinstance(wanted, dict) else {"$eq": wanted}
    return all(fulfils(test, value, name, metadata) for test, value in tests.items())


def fulfils(test: str, value: Any, name: str, metadata: dict[str, Any]) -> bool:
    values = value if test in ("$in", "$nin") else [value]
    is_equal = name in metadata and any(equal(metadata[name], each) for each in values)
    if test in ("$ne", "$nin"):
        return not is_equal
    if test in ("$eq", "$in"):
        return is_equal
    compares = name in metadata and kind(metadata[name]) == kind(value)
    return compares and ORDERS[test](metadata[name], value)


def some_where(choose: random.Random, depth: int = 0) -> dict[str, Any]:
    where: dict[str, Any] = {}
    for _ in range(choose.choice((1, 1, 2))):
        if depth < 3 and choose.random() < 0.3:
            group = choose.choice(("$and", "$or"))
            where[group] = [some_where(choose, depth + 1) for _ in range(choose.choice((1, 2, 3)))]
        else:
            where[choose.choice(NAMES)] = some_test(choose)
    return where


def some_test(choose: random.Random) -> Any:
    if choose.random() < 0.3:
        return choose.choice(VALUES)
    test = choose.choice(OPERATORS)
    if test in ("$in", "$nin"):
        return {test: choose.choices(VALUES, k=choose.choice((0, 1, 3)))}
    return {test: choose.choice([v for v in VALUES if test not in ORDERS or type(v) is not bool])}


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "a.grit")
    yield opened
    opened.close()


def insert(database: Database, number: int, metadata: dict[str, Any]) -> None:
    database.execute(
        "insert into source (id, path, digest, size, mtime_ns, read_ns, complete)"
        " values (?, ?, x'', 0, 0, 0, 1)",
        (number, f"{number}.md"),
    )
    write_metadata(database, number, metadata)


def found(database: Database, where: object) -> set[int]:
    clause = read_where(where)
    assert clause is not None
    sql = f"select id from source where complete and {clause.sql}"
    return {id for (id,) in database.rows(sql, clause.parameters)}


def test_a_condition_holds_for_the_right_documents(database):
    choose = random.Random(7)
    documents = {}
    for number in range(300):
        documents[number] = {name: choose.choice(VALUES) for name in NAMES if choose.random() < 0.6}
        insert(database, number, documents[number])
    sizes = set()
    for _ in range(1000):
        where = some_where(choose)
        expected = {number for number, each in documents.items() if holds(where, each)}
        assert found(database, where) == expected, where
        sizes.add(len(expected))
    assert len(sizes) > 100  # conditions of all kinds, not all of them empty


def test_no_condition():
    assert read_where(None) is None
    assert read_where({}) is None


def test_a_set_of_values(database):
    insert(database, 1, {"tag": "inn"})
    insert(database, 2, {"tag": "mill"})
    assert found(database, {"tag": {"$in": {"inn", "ferry"}}}) == {1}


def deep(levels):
    return {"a": 1} if not levels else {"$and": [deep(levels - 1)]}


def test_many_and_deep_conditions_are_held(database):
    insert(database, 1, {"a": 1})
    assert found(database, deep(15)) == {1}
    assert found(database, {"$or": [{"a": number} for number in range(256)]}) == {1}
    assert found(database, {"a": {"$in": list(range(9000))}}) == {1}


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("author", "in place of a condition"),
        (["author"], "in place of a condition"),
        ({"author": {}}, r"no operator for 'author': expected \$eq, \$ne"),
        ({"year": {"$near": 1}}, r"operator '\$near' of 'year': expected one of \$eq, \$ne, \$gt"),
        ({"year": {"$regex": "1"}}, r"\$in, \$nin; \$and and \$or take a list of whole conditions"),
        ({"year": {"$or": [1, 2]}}, r"operator '\$or' of 'year': .* \$and and \$or take a list"),
        ({"year": {3: 1}}, "the operator 3 of 'year'"),
        ({"$not": {"year": 1}}, r"'\$not' in place of a name: expected one of \$and, \$or"),
        ({"$and": {"year": 1}}, r"\$and without a list"),
        ({"$or": []}, r"\$or without a list"),
        ({"$or": "ab"}, r"\$or without a list"),
        ({"$or": [1]}, "1 in place of a condition"),
        ({"$or": [{}]}, "{} in place of a condition"),
        ({3: 1}, "has the name 3"),
        ({"": 1}, "has the name ''"),
        ({"a": None}, "'a' is NoneType: expected str, int, float or bool"),
        ({"a": ["x"]}, "'a' is list"),
        ({"a": b"x"}, "'a' is bytes"),
        ({"a": {"$in": "xy"}}, r"\$in of 'a' without a list"),
        ({"a": {"$in": [None]}}, "'a' is NoneType"),
        ({"a": {"$gt": True}}, "with a bool, which has no order"),
        ({"a": {"$lt": float("nan")}}, "'a' is nan: expected"),
        ({"a": 2**63}, "expected Unicode, a finite number, or an integer of 64 bits"),
        ({"a": "\ud800"}, "expected Unicode"),
        ({"\ud800": 1}, "has the name"),
        (deep(16), "conditions in more than 16 others"),
        ({"$or": [{"a": 1}] * 257}, "has 257 tests"),
        ({"a": {"$in": list(range(10_000))}}, "10,001 names and values"),
    ],
)
def test_what_is_no_condition(where, problem):
    with pytest.raises(UsageError, match=problem):
        read_where(where)
