"""The keywords of JSON Schema: which are supported, and what their values must be."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from gritlite.errors import UsageError
from gritlite.runtime.schema.refusals import refusal, shown

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
MAX_VALUES = 20_000  # of an enum: their grammar takes some seconds


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _is_few(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_VALUES


def _is_schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_schema, value))


def _is_named_schemas(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_types(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


Test = Callable[[Any], bool]
_SCHEMA: tuple[Test, str] = (_is_schema, "a schema")
_SCHEMAS: tuple[Test, str] = (_is_schemas, "a list of schemas that is not empty")
_NAMED: tuple[Test, str] = (_is_named_schemas, "an object of schemas")
_COUNT: tuple[Test, str] = (_is_count, "an integer that is not negative")
_NUMBER: tuple[Test, str] = (_is_number, "a number")
_BOUND: tuple[Test, str] = (lambda value: _is_number(value) or isinstance(value, bool), _NUMBER[1])
_TEXT: tuple[Test, str] = (lambda value: isinstance(value, str), "a string")
_BOOLEAN: tuple[Test, str] = (lambda value: isinstance(value, bool), "true or false")

# JSON Schema 2020-12, and what drafts 4 to 2019-09 call otherwise
SUPPORTED: Mapping[str, tuple[Test, str]] = {
    "$ref": _TEXT,
    "type": (_is_types, "one of " + ", ".join(TYPES) + ", or a list of them"),
    "enum": (_is_few, f"a list of at most {MAX_VALUES} values"),
    "const": (lambda _: True, ""),
    "allOf": _SCHEMAS,
    "anyOf": _SCHEMAS,
    "oneOf": _SCHEMAS,
    "not": _SCHEMA,
    "if": _SCHEMA,
    "then": _SCHEMA,
    "else": _SCHEMA,
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _BOUND,
    "exclusiveMaximum": _BOUND,
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number greater than 0"),
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "pattern": _TEXT,
    "items": (lambda value: _is_schema(value) or isinstance(value, list), "a schema or a list"),
    "additionalItems": _SCHEMA,
    "prefixItems": _SCHEMAS,
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "uniqueItems": _BOOLEAN,
    "unevaluatedItems": _SCHEMA,
    "properties": _NAMED,
    "patternProperties": _NAMED,
    "additionalProperties": _SCHEMA,
    "unevaluatedProperties": _SCHEMA,
    "propertyNames": _SCHEMA,
    "required": (_is_names, "a list of strings"),
    "minProperties": _COUNT,
    "maxProperties": _COUNT,
    "dependentRequired": (
        lambda value: isinstance(value, dict) and all(map(_is_names, value.values())),
        "an object of lists of strings",
    ),
    "dependentSchemas": _NAMED,
    "dependencies": _NAMED,
}

_UNSUPPORTED = {
    "contains": "leave it out and check the answer",
    "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
}


def check(pointer: str, part: Any) -> None:
    """Raise UsageError for a part with a keyword of a wrong kind, unsupported or misspelt."""
    if isinstance(part, bool):
        return
    if not isinstance(part, dict):
        place = shown(pointer)
        raise UsageError(f"the JSON schema is wrong at {place}: expected an object or a boolean")
    for keyword, value in part.items():
        if keyword in SUPPORTED:
            test, wanted = SUPPORTED[keyword]
            if not test(value):
                raise UsageError(
                    f"the JSON schema's {keyword!r} at {shown(pointer)} is wrong: expected {wanted}"
                )
        elif keyword in _UNSUPPORTED:
            raise refusal(keyword, pointer, _UNSUPPORTED[keyword])
        elif keyword == "nullable" and value is True:
            reason = 'it belongs to OpenAPI: write "null" into a list of types'
            raise refusal(keyword, pointer, reason)
        elif keyword == "$id" and pointer != "#":
            raise refusal(keyword, pointer, "only the whole schema may have one")
        elif keyword not in _ANNOTATIONS:
            _check_spelling(keyword, pointer)


# keywords that say nothing about which values are valid
_ANNOTATIONS = frozenset(
    """$schema $id $anchor $comment $defs definitions $vocabulary $dynamicAnchor
    $recursiveAnchor title description default examples example deprecated readOnly writeOnly
    format contentEncoding contentMediaType contentSchema minContains maxContains nullable
    discriminator""".split()  # noqa: SIM905 - a list of strings would fill twenty lines
)


def _check_spelling(keyword: str, pointer: str) -> None:
    """Raise UsageError for a keyword that looks like a misspelt one; others are annotations."""
    near = difflib.get_close_matches(keyword, SUPPORTED, 1, 0.85)
    if near:
        place = shown(pointer)
        raise UsageError(f"the JSON schema has {keyword!r} at {place}: did you mean {near[0]!r}?")
