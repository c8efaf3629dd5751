"""Fuzz JSON schemas: random ones become grammars, whose random texts must be valid.

A schema is refused with an error of gritlite, or becomes a grammar; then every rule of the
grammar can be completed, and its texts are JSON that the package jsonschema finds valid.
"""

import json
import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema

sys.path.insert(0, str(Path(__file__).parents[2]))

from fuzz.counting import Outcome, check_message
from gritlite.errors import GritLiteError
from gritlite.runtime.schema import from_json_schema
from tests.gbnf import Texts

TEXTS = 20  # for each schema
_WORDS = ("a", "b", "c\\d", 'q"', "", "é", "\t", "a/b", "~x", "𝄞", "name", "kind", "\u2028")
_PATTERNS = (
    "^[a-z]+$", "b", "^[^a]{4}$", r"^\d{3}-\d{4}$", r"^\w+$", r"\s", r"^\S*$", "^(foo|ba[rz])+$",
    "^a.c", "x*$", r"^[\w.+-]+@[\w-]+\.[a-z]{2,3}$", "^$", "", r"[\"\\]", r"^\W{2}$", "^.{3,5}$",
    "(?=a)", "a{2,3}?b", r"^[^\d]+$", r"^(a|b)*abb$", "a$|^b", r"^\u00e9+$", "^\\D$", "a^b",
)  # fmt: skip
_NUMBERS = (0, 1, -1, 2, 3, 7, 10, 100, 0.1, 0.5, -2.5, 1e-3, 1e16, 12345.678, -(2**63), 3.0)


def case(dice: random.Random) -> Outcome:
    """Make a schema and try some texts of its grammar."""
    schema = json.loads(json.dumps(make(dice, 3)))
    if isinstance(schema, dict):
        schema["$defs"] = {"part": make(dice, 2), "more": make(dice, 1)}
    try:
        grammar = from_json_schema(schema)
    except GritLiteError as error:
        check_message(error)
        return "refused"
    check(schema, grammar, dice)
    return "right"


def check(schema: Any, grammar: str, dice: random.Random, count: int = TEXTS) -> None:
    """Fail for a grammar of which a text is not valid under a schema."""
    texts = Texts(grammar)
    assert not texts.dead_ends(), (schema, texts.dead_ends())
    default: Any = jsonschema.Draft202012Validator
    validator = jsonschema.validators.validator_for(schema, default=default)(schema)
    for _ in range(count):
        text = texts.random(dice)
        text.encode()
        value = json.loads(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of patterns
            problem = next(validator.iter_errors(value), None)
        assert problem is None, f"{text} for {json.dumps(schema)}: {problem}"


def make(dice: random.Random, depth: int) -> Any:
    """Return a random schema: keywords of one type, or of several, sometimes combined."""
    if dice.random() < 0.04:
        return dice.choice((True, True, False))
    makers: list[Callable[[random.Random, int], Any]] = [_string, _number, _enum, _free]
    if depth:
        makers += [_object, _object, _array, _combined, _combined]
    schema: dict[str, Any] = {}
    for maker in dice.sample(makers, dice.choice((1, 1, 1, 2))):
        schema |= maker(dice, depth)
    if dice.random() < 0.04:
        schema["$ref"] = dice.choice(("#", "#/$defs/part", "#/$defs/more"))
    return schema


def _some(dice: random.Random, options: dict[str, Callable[[], Any]], chance: float) -> Any:
    return {name: make() for name, make in options.items() if dice.random() < chance}


def _string(dice: random.Random, _depth: int) -> Any:
    size = dice.choice((0, 1, 2, 5, 80))
    schema = _some(
        dice,
        {
            "type": lambda: "string",
            "minLength": lambda: size,
            "maxLength": lambda: size + dice.choice((0, 1, 3, 200, -1)),
            "pattern": lambda: dice.choice(_PATTERNS),
            "format": lambda: "email",
        },
        0.5,
    )
    return {name: value for name, value in schema.items() if value != -1}


def _number(dice: random.Random, _depth: int) -> Any:
    number: Callable[[], Any] = lambda: dice.choice(_NUMBERS)  # noqa: E731
    limits = dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), number)
    factor = {"multipleOf": lambda: abs(number()) or 1} if dice.random() < 0.2 else {}
    return {"type": dice.choice(("integer", "number"))} | _some(dice, limits | factor, 0.3)


def _value(dice: random.Random, depth: int = 1) -> Any:
    if depth and dice.random() < 0.2:
        if dice.random() < 0.5:
            return [_value(dice, 0) for _ in range(dice.randrange(3))]
        return {dice.choice(_WORDS): _value(dice, 0) for _ in range(dice.randrange(3))}
    return dice.choice((None, True, False, *_WORDS, *_NUMBERS))


def _enum(dice: random.Random, _depth: int) -> Any:
    if dice.random() < 0.5:
        return {"const": _value(dice)}
    return {"enum": [_value(dice) for _ in range(dice.randint(1, 6))]}


def _free(dice: random.Random, _depth: int) -> Any:
    kinds = ["null", "boolean", "integer", "number", "string", "array", "object"]
    if dice.random() < 0.3:
        return {"type": dice.sample(kinds, dice.randint(1, 3))}
    return {"type": dice.choice(kinds)} if dice.random() < 0.9 else {}


def _object(dice: random.Random, depth: int) -> Any:
    names = dice.sample(_WORDS, dice.randint(0, 4))
    part: Callable[[], Any] = lambda: make(dice, depth - 1)  # noqa: E731
    schema: dict[str, Any] = {"type": "object"} if dice.random() < 0.9 else {}
    schema |= {"properties": {name: part() for name in names}} if names else {}
    options: dict[str, Callable[[], Any]] = {
        "required": lambda: dice.sample((*names, "other"), dice.randint(0, len(names))),
        "additionalProperties": lambda: dice.choice((False, False, True, part())),
        # jsonschema takes the empty pattern for none
        "patternProperties": lambda: {dice.choice(_PATTERNS) or "x": part()},
        "propertyNames": lambda: _string(dice, 0),
        "minProperties": lambda: dice.randint(0, 3),
        "maxProperties": lambda: dice.randint(0, 5),
        "dependentRequired": lambda: {dice.choice(_WORDS): [dice.choice(_WORDS)]},
        "unevaluatedProperties": lambda: dice.choice((False, part())),
    }
    chances = (0.6, 0.4, 0.15, 0.1, 0.2, 0.2, 0.1, 0.1)
    for (name, maker), chance in zip(options.items(), chances, strict=True):
        if dice.random() < chance:
            schema[name] = maker()
    return schema


def _array(dice: random.Random, depth: int) -> Any:
    part: Callable[[], Any] = lambda: make(dice, depth - 1)  # noqa: E731
    options: dict[str, Callable[[], Any]] = {
        "items": part,
        "prefixItems": lambda: [part() for _ in range(dice.randint(1, 3))],
        "minItems": lambda: dice.choice((0, 1, 2, 3, 90)),
        "maxItems": lambda: dice.choice((0, 1, 3, 5, 100)),
        "uniqueItems": lambda: dice.random() < 0.5,
        "unevaluatedItems": lambda: False,
        "contains": part,
    }
    schema: dict[str, Any] = {"type": "array"}
    for (name, maker), chance in zip(
        options.items(), (0.7, 0.3, 0.3, 0.4, 0.1, 0.05, 0.02), strict=True
    ):
        if dice.random() < chance:
            schema[name] = maker()
    return schema


def _combined(dice: random.Random, depth: int) -> Any:
    part: Callable[[], Any] = lambda: make(dice, depth - 1)  # noqa: E731
    kind = dice.choice(("anyOf", "oneOf", "allOf", "not", "if", "dependentSchemas", "tagged"))
    if kind == "not":
        return {"not": part()}
    if kind == "if":
        return {"if": part()} | _some(dice, {"then": part, "else": part}, 0.8)
    if kind == "dependentSchemas":
        return {kind: {dice.choice(_WORDS): part()}}
    if kind == "tagged":
        tags = dice.sample(_WORDS, 2)
        return {"oneOf": [_tagged(dice, depth, tag) for tag in tags]}
    return {kind: [part() for _ in range(dice.randint(1, 3))]}


def _tagged(dice: random.Random, depth: int, tag: str) -> Any:
    schema = _object(dice, depth)
    schema["properties"] = {"kind": {"const": tag}} | schema.get("properties", {})
    return schema | {"required": ["kind"]}
