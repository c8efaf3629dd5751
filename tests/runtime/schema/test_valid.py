"""Random texts of grammars are valid under their schemas: jsonschema is the judge."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from fuzz.schemas import check, make

from gritlite.errors import UsageError
from gritlite.runtime.schema import from_json_schema
from tests.gbnf import Texts

# an extract of the JSON-Schema-Test-Suite, see suite.LICENSE
SUITE = json.loads((Path(__file__).parent / "suite.json").read_text())

KEYWORDS_REFUSED = {"contains", "minContains", "maxContains"}


@pytest.mark.parametrize("keyword", sorted({group["keyword"] for group in SUITE}))
def test_the_json_schema_test_suite(keyword: str) -> None:
    """Every text is valid, no invalid example of the suite is one, and most valid ones are."""
    held = right = known = 0
    for group in (group for group in SUITE if group["keyword"] == keyword):
        try:
            grammar = from_json_schema(group["schema"])
        except UsageError:
            continue
        held += 1
        check(group["schema"], grammar, random.Random(1), 40)
        texts = Texts(grammar)
        for example in group["tests"]:
            written = texts.has(json.dumps(example["data"], ensure_ascii=False))
            assert example["valid"] or not written, (group["description"], example["data"])
            known += example["valid"]
            right += written
    assert held or keyword in KEYWORDS_REFUSED
    assert right >= 0.6 * known


def test_the_suite_is_mostly_held() -> None:
    """51 of 284 schemas are refused: no value is valid, other documents, `contains`, ..."""
    refused = 0
    for group in SUITE:
        try:
            from_json_schema(group["schema"])
        except UsageError:
            refused += 1
    assert (refused, len(SUITE)) == (51, 284)


@pytest.mark.parametrize("kind", ["anyOf", "oneOf", "allOf", "not", "if", "dependentSchemas"])
def test_combinations(kind: str) -> None:
    """The fuzzer's schemas under each keyword that combines them."""
    held = 0
    for seed in range(40):
        dice = random.Random(f"{kind} {seed}")
        parts = [make(dice, 1), make(dice, 1)]
        schema: Any = {"$defs": {"part": make(dice, 1), "more": make(dice, 0)}}
        if kind == "dependentSchemas":
            schema |= {
                "type": "object",
                "properties": {"a": True, "b": True},
                kind: {"a": parts[0]},
            }
        elif kind == "if":
            schema |= {"if": parts[0], "then": parts[1], "type": ["integer", "string", "object"]}
        else:
            schema |= {kind: parts[0] if kind == "not" else parts}
        try:
            grammar = from_json_schema(schema)
        except UsageError:
            continue
        held += 1
        check(schema, grammar, dice, 10)
    assert held > 8
