"""Answers of a model with random weights are valid: llama.cpp reads the grammars itself."""

import json
import random
import re
from pathlib import Path

import jsonschema
import pytest
from fuzz.schemas import make

from gritlite import GritLM
from gritlite.errors import UsageError
from gritlite.runtime.llama import Weights
from gritlite.runtime.llama.constraint import Constraint
from gritlite.runtime.llama.vocabulary import LlamaVocabulary
from gritlite.runtime.schema import from_json_schema

WILD = {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


def answer(model: GritLM, schema: object, seed: int, max_tokens: int = 300) -> str | None:
    """Return an answer that ended by itself."""
    found = model.generate(
        "x", json_schema=json.dumps(schema), seed=seed, max_tokens=max_tokens, stream=True, **WILD
    )
    text = "".join(found)
    return text if found.finish_reason == "stop" else None


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["c\\d", 'q"', "\t", "é𝄞", "\u2028"]},
        {"const": {'"': ["\\", "\x01"]}},
        {"type": "string", "pattern": "^[^a]{4}$"},
        {"type": "string", "pattern": r"^\W\S\s[\"\\]$"},
        {"type": "string", "minLength": 3, "maxLength": 5},
        {"type": "string", "minLength": 60, "maxLength": 70, "pattern": r"^[^\w]*$"},
        {"type": "object", "required": ["a\\b"], "properties": {"a\\b": {"type": "boolean"}}},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-3},
        {"type": "string", "pattern": "^<s>|</s>$", "maxLength": 12},
    ],
    ids=str,
)
def test_hard_strings_and_numbers(tiny_model: GritLM, schema: dict[str, object]) -> None:
    texts = [answer(tiny_model, schema, seed) for seed in range(8)]
    ended = [text for text in texts if text is not None]
    assert len(ended) >= 6
    for text in ended:
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def test_a_model_that_loves_blanks_ends(tiny_model: GritLM) -> None:
    """Small models may repeat blanks between values: the grammar allows few."""
    piece = tiny_model.engine.vocabulary.piece
    blanks = {
        each: 100 for each in range(tiny_model.engine.vocabulary.size) if piece(each).isspace()
    }
    item = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    schema = {"type": "array", "items": item, "minItems": 2, "maxItems": 2}
    found = tiny_model.generate(
        "x", json_schema=schema, stream=True, temperature=0, logit_bias=blanks
    )
    text = "".join(found)
    assert found.finish_reason == "stop"
    assert len(json.loads(text)) == 2
    assert 20 < max(map(len, re.findall(r"\s+", text))) <= 25


def test_random_schemas(tiny_model: GritLM) -> None:
    """The fuzzer's schemas; some answers are cut, which their finish reason tells."""
    ended = 0
    for seed in range(40):
        dice = random.Random(f"answers {seed}")
        schema = make(dice, 2)
        if isinstance(schema, dict):
            schema["$defs"] = {"part": make(dice, 1), "more": make(dice, 1)}
        try:
            from_json_schema(schema)
        except UsageError:
            continue
        text = answer(tiny_model, schema, seed, 150)
        if text is not None:
            ended += 1
            jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    assert ended > 15


def test_a_cut_answer_says_so(tiny_model: GritLM) -> None:
    found = tiny_model.generate(
        "x", json_schema={"type": "string", "minLength": 500}, max_tokens=20, stream=True
    )
    assert "".join(found).startswith('"')
    assert found.finish_reason == "length"


def test_bytes_of_no_character_are_not_chosen(tiny_path: Path) -> None:
    """llama.cpp takes overlong UTF-8 for characters; control tokens show no text."""
    grammar = 'root ::= "x" [^"]{30} "y"'
    with GritLM(tiny_path, threads=1) as model:
        for seed in range(20):
            text = model.generate("x", grammar=grammar, seed=seed, max_tokens=100, **WILD)
            assert len(text) == 32
            assert "\ufffd" not in text


def test_only_a_complete_answer_can_end(tiny_path: Path) -> None:
    """An end token that llama.cpp takes for text does not end an answer under a grammar."""
    with Weights(tiny_path, gpu_layers=0, vocab_only=True) as weights:
        plain = LlamaVocabulary(weights)
        (letter,) = plain.tokenize("a", parse_control=False).tolist()
        constraint = Constraint(weights, LlamaVocabulary(weights, [letter]), 'root ::= "a"')
        assert not constraint.makes_text(letter)
        assert constraint.makes_text(plain.eos)
        constraint.close()
