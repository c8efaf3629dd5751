"""Every keyword: which answers are written, which are not, and what is refused by name."""

import json
import random
from typing import Any

import pytest

from gritlite.errors import UsageError
from gritlite.runtime.schema import from_json_schema
from tests.gbnf import Texts


def texts(schema: Any) -> Texts:
    found = Texts(from_json_schema(schema))
    assert found.dead_ends() == []
    return found


def some(schema: Any, count: int = 300) -> list[Any]:
    """Return values of random texts of a schema's grammar."""
    dice, found = random.Random(0), texts(schema)
    return [json.loads(found.random(dice)) for _ in range(count)]


def writes(schema: Any, value: Any) -> bool:
    return texts(schema).has(json.dumps(value, ensure_ascii=False))


# each line: a schema, values that it can write, values that it must not write
HELD: list[tuple[Any, list[Any], list[Any]]] = [
    ({"enum": ["c\\d", 'q"', "\t", 1.5, None]}, ["c\\d", 'q"', "\t", 1.5, None], ["c", 1]),
    ({"const": "a\tb"}, ["a\tb"], ["a", "a\\tb"]),
    ({"const": {"a": [1, "x"]}}, [{"a": [1, "x"]}], [{"a": [1]}, {}]),
    ({"pattern": "^[^a]{4}$", "type": "string"}, ['b"\\c', "\n€𝄞x"], ["abcd", "bcd"]),
    ({"type": "string", "pattern": r"^\d{3}-\w+$"}, ["123-a_Z"], ["123-", "١٢٣-a", "123-é"]),
    ({"type": "string", "pattern": "b+"}, ["abc", "bb"], ["ac", ""]),
    ({"type": "string", "pattern": "^a+$", "minLength": 2, "maxLength": 3}, ["aa"], ["a", "aaaa"]),
    ({"type": "string", "minLength": 2, "maxLength": 40}, ["ab", "𝄞" * 40], ["𝄞", "a" * 41]),
    ({"type": "object", "required": ["a"]}, [{"a": [1, {}]}], [{}, {"b": 1}]),
    ({"type": "object"}, [{}, {"a": 1, "b": [None]}], [[]]),
    (
        {"properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "type": "object"},
        [{}, {"a": None}, {"b": None}, {"a": None, "b": None}],
        [{"a": 1}, {"c": None}],
    ),
    (
        {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}},
        [{"a": 1}, {"b": None}, {"ab": None, "": None}],
        [{"b": 1}],
    ),
    ({"type": "object", "patternProperties": {"^x": {"const": 1}}}, [{"x1": 1}], [{"x": 2}]),
    ({"type": "object", "propertyNames": {"maxLength": 2}}, [{"ab": 0}], [{"abc": 0}]),
    ({"type": "object", "maxProperties": 1}, [{}, {"a": 1}], [{"a": 1, "b": 2}]),
    (
        {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2},
        [{"a": 1, "c": 1}, {"b": 1, "c": 1}],
        [{"a": 1}, {}],
    ),
    ({"type": "object", "properties": {"a": False, "b": {}}}, [{"b": 1}], [{"a": 1}]),
    (
        {"dependentRequired": {"a": ["b"]}, "properties": {"a": {}, "b": {}}, "type": "object"},
        [{}, {"b": 1}, {"a": 1, "b": 1}],
        [{"a": 1}],
    ),
    ({"type": "array", "items": {"type": "null"}, "minItems": 1}, [[None]], [[], [1]]),
    ({"type": "array", "maxItems": 2}, [[], [1, "a"]], [[1, 2, 3]]),
    ({"prefixItems": [{"const": 1}, {"const": 2}], "type": "array"}, [[], [1, 2]], [[2]]),
    ({"type": "array", "items": {"enum": [1, 1.0, 2]}, "uniqueItems": True}, [[2, 1]], [[1, 1]]),
    ({"items": [{"const": 1}], "additionalItems": False, "type": "array"}, [[1]], [[1, 1]]),
    ({"type": "integer"}, [0, -17, 123456789012345], [1.5, 10**15]),
    ({"type": "integer", "minimum": 3, "maximum": 12}, [3, 9, 10, 12], [2, 13, 30, -4]),
    ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, [2**63 - 1], [2**63]),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.3}, [0.3, 0.001], [0.0, 0.31, -1]),
    ({"type": "number"}, [1e-07, -2.5, 6.02e23], ["1"]),
    ({"type": "integer", "multipleOf": 7}, [0, 14, -7], [8]),
    ({"type": "number", "multipleOf": 0.25}, [0.25, 3], [0.3]),
    ({"minimum": 5, "exclusiveMinimum": True, "type": "integer"}, [6], [5]),
    ({"type": ["string", "null"]}, ["a", None], [1]),
    ({"anyOf": [{"const": 1}, {"type": "null"}]}, [1, None], [2]),
    ({"allOf": [{"minimum": 2}, {"maximum": 3}], "type": "integer"}, [2, 3], [1, 4]),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, [1.5], [1, 1.0]),
    ({"oneOf": [{"minLength": 3}, {"maxLength": 5}], "type": "string"}, ["ab", "abcdef"], ["abcd"]),
    ({"not": {"enum": ["a", 5]}, "type": ["string", "integer"]}, ["ab", 55], ["a", 5]),
    ({"not": {"pattern": "^a"}, "type": "string"}, ["ba", ""], ["ab"]),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        [{"a": 1}, {"b": 1}],
        [{}, {"a": 1, "b": 1}],
    ),
    (
        {
            "type": "object",
            "properties": {"country": {"enum": ["US", "NL"]}, "code": {"type": "string"}},
            "required": ["country", "code"],
            "if": {"properties": {"country": {"const": "US"}}},
            "then": {"properties": {"code": {"pattern": "^[0-9]{5}$"}}},
            "else": {"properties": {"code": {"pattern": "^[A-Z]{2}$"}}},
        },
        [{"country": "US", "code": "12345"}, {"country": "NL", "code": "AB"}],
        [{"country": "US", "code": "AB"}, {"country": "NL", "code": "12345"}],
    ),
    (
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}},
        [[], [[], [[]]]],
        [[1]],
    ),
    ({"$ref": "#thing", "definitions": {"t": {"$anchor": "thing", "const": 1}}}, [1], [2]),
    ({"$ref": "#/a~1b/0/c%25", "a/b": [{"c%": {"const": 1}}]}, [1], [2]),
    (
        {
            "allOf": [{"type": "object", "properties": {"a": {"const": 1}}}],
            "unevaluatedProperties": False,
        },
        [{"a": 1}],
        [{"b": 1}],
    ),
    ({"type": "string", "format": "email", "title": "t", "x-mine": 1}, ["no email"], [1]),
    (True, [1, "a", [], {}], []),
    ({"type": "null", "nullable": False, "description": "d", "default": 3}, [None], [3]),
]


@pytest.mark.parametrize(("schema", "right", "wrong"), HELD, ids=[str(i) for i in range(len(HELD))])
def test_held(schema: Any, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not writes(schema, value)] == []
    assert [value for value in wrong if writes(schema, value)] == []


REFUSED = [
    ({"contains": {}}, "'contains' at # cannot be held"),
    ({"properties": {"a": {"nullable": True}}}, "'nullable' at #/properties/a cannot .*OpenAPI"),
    ({"type": "array", "uniqueItems": True}, "'uniqueItems' at # cannot be held: only where"),
    ({"type": "object", "minProperties": 2}, "'minProperties' at # .* written twice"),
    ({"type": "number", "multipleOf": 0.01}, "'multipleOf' at # .* 0.01 has no exact binary form"),
    ({"type": "integer", "multipleOf": 1009}, "'multipleOf' at # .* too large a grammar"),
    ({"type": "string", "pattern": "(?=a)b"}, r"'pattern' at # .*'\(\?=a\)b', lookaround is not"),
    ({"type": "string", "pattern": r"(a)\1"}, r"a backreference \\1 is not supported, at char"),
    ({"type": "string", "pattern": r"\bfoo"}, r"the escape \\b is not supported, at character 3"),
    ({"type": "string", "pattern": r"\p{L}"}, r"the escape \\p is not supported"),
    ({"type": "string", "pattern": "(?i)a"}, "this kind of group .flags, backreferences"),
    ({"type": "string", "pattern": "(a"}, "a parenthesis is not closed, at character 3"),
    ({"type": "string", "pattern": "(a|b)*a(a|b){20}"}, "needs more than 5000 states"),
    ({"type": "string", "pattern": "^a*$", "maxLength": 10**5}, "'pattern' at # .*length's bounds"),
    ({"$ref": "#/$defs/a"}, "'\\$ref' at # cannot be held: there is no '#/\\$defs/a'"),
    ({"$ref": "https://example.com/a"}, "is in another document: copy it into"),
    ({"$ref": "#"}, "'\\$ref' at # cannot be held: it refers to itself without end"),
    ({"not": {"$ref": "#"}}, "it refers to itself without end"),
    ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "it refers to itself without end"),
    ({"$dynamicRef": "#a"}, "'\\$dynamicRef' at # cannot be held: use"),
    ({"properties": {"a": {"$id": "x"}}}, "'\\$id' at #/properties/a cannot be held"),
    ({"type": "strin"}, "'type' at # is wrong: expected one of null"),
    ({"required": "a"}, "'required' at # is wrong: expected a list of strings"),
    ({"properties": {"a\n\u202e": 1}}, r"wrong at #/properties/a\\n\\u202e: expected an object"),
    ({"minLenght": 3}, "'minLenght' at #: did you mean 'minLength'"),
    ({"const": "\ud800"}, "half of a surrogate pair at #/const"),
    ('{"const": NaN}', "not valid JSON: NaN is no JSON number"),
    ('{"const": 1e999}', "number at #/const is too large"),
    ("{", "not valid JSON"),
    ("[]", "the JSON schema is not an object"),
    (b"{}", "not valid JSON"),
    (False, "allows no value"),
    ({"type": "string", "const": 1}, "allows no value"),
    ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "allows no value"),
    (
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        "allows no value: .* another like itself without end",
    ),
    ({"enum": list(range(20_001))}, "'enum' at # is wrong: expected a list of at most 20000"),
    ({"properties": {f"p{i}": {} for i in range(1001)}}, "'properties' at # .* more than 1000"),
    ("[" * 100_000, "nested more than 100 levels deep"),
    ('{"not":' * 101 + "{}" + "}" * 101, "nested more than 100 levels deep"),
    ({"const": "x" * 4_000_000}, "more than 4000000 characters"),
    ({"allOf": [{"anyOf": [{"minimum": i}, {"maxLength": i}]} for i in range(20)]}, "multiply to"),
]


@pytest.mark.parametrize(("schema", "message"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refused_by_name(schema: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        from_json_schema(schema)
    assert str(caught.value).isprintable()


def test_large_bounds_need_small_grammars() -> None:
    for schema in (
        {"type": "string", "minLength": 10**9},
        {"type": "string", "maxLength": 100_000},
        {"type": "array", "items": {"type": "null"}, "minItems": 5_000, "maxItems": 10**6},
    ):
        assert len(from_json_schema(schema)) < 4_000
    schema = {"enum": [f"value {number * 7919 % 2003}" for number in range(2_000)]}
    assert writes(schema, "value 1234")


def test_counts_are_exact() -> None:
    for low, high in ((0, 33), (31, 65), (64, 64), (70, 200)):
        found = texts({"type": "string", "minLength": low, "maxLength": high})
        for length in (max(low - 1, 0), low, low + 1, high - 1, high, high + 1):
            assert found.has('"' + "a" * length + '"') == (low <= length <= high)


def test_spaces_are_bounded() -> None:
    found = texts({"type": "array", "items": {"type": "null"}})
    assert found.has("[\n    null,\n\t\tnull\n]")
    assert found.has("[null, null]")
    assert not found.has("[" + " " * 30 + "null]")
    assert not found.has("[\n\n\nnull]")


def test_strings_may_hold_escapes_but_no_half_pairs() -> None:
    found = texts({"type": "string"})
    assert found.has(r'"\u00e9\ud834\udd1e\/\n"')
    assert not found.has(r'"\ud834"')
    assert not found.has(r'"\udd1e"')
    assert not found.has('"\t"')
    assert not found.has('"\ud834"')


def test_properties_named_like_keywords() -> None:
    schema = {"type": "object", "properties": {"minimum": {"type": "string"}, "not": {"const": 1}}}
    assert writes(schema, {"minimum": "a", "not": 1})


def test_a_schema_is_not_changed() -> None:
    schema = {"type": "object", "dependentRequired": {"a": ["b"]}, "unevaluatedProperties": False}
    before = json.dumps(schema)
    from_json_schema(schema)
    assert json.dumps(schema) == before


def test_pydantic() -> None:
    """What `model_json_schema()` of pydantic 2 gives for a small tree of models."""
    schema = {
        "$defs": {
            "Color": {"enum": ["red", "green"], "title": "Color", "type": "string"},
            "Node": {
                "properties": {
                    "name": {"maxLength": 20, "minLength": 1, "title": "Name", "type": "string"},
                    "color": {"$ref": "#/$defs/Color", "default": "red"},
                    "size": {
                        "anyOf": [{"exclusiveMinimum": 0, "type": "number"}, {"type": "null"}],
                        "default": None,
                    },
                    "children": {"items": {"$ref": "#/$defs/Node"}, "type": "array"},
                    "at": {
                        "maxItems": 2,
                        "minItems": 2,
                        "prefixItems": [{"type": "integer"}, {"type": "integer"}],
                        "type": "array",
                    },
                },
                "required": ["name", "children"],
                "title": "Node",
                "type": "object",
            },
        },
        "$ref": "#/$defs/Node",
    }
    value = {"name": "a", "size": 0.5, "children": [{"name": "b", "children": []}], "at": [1, -2]}
    assert writes(schema, value)
    assert not writes(schema, value | {"name": ""})
    assert not writes(schema, value | {"size": 0})
    assert not writes(schema, value | {"at": [1]})


@pytest.mark.parametrize("limits", [{"maxLength": 2**62}, {"minLength": 2**40}])
def test_a_huge_bound_takes_as_many_steps_as_it_has_digits(limits):
    """Its halves are made once, not once for each place where they are needed."""
    assert len(from_json_schema({"type": "string", **limits}).splitlines()) < 500


def test_a_long_list_of_different_items():
    """Each is looked up, not compared with each other one."""
    items = [*range(30_000), [1], {"a": 1}]
    schema = {"type": "array", "const": items, "uniqueItems": True}
    assert from_json_schema(schema)
    with pytest.raises(UsageError, match="no value"):
        from_json_schema({**schema, "const": [*items, [1.0]]})
