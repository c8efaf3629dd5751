"""Frequency and presence penalties and biases: OpenAI's formula, in every kind of answer.

The formula is that of OpenAI's guide: `logit + bias - count * frequency - (count > 0) * presence`,
where `count` is how often the answer has the token.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import UsageError
from gritlite.runtime.llama import LlamaEngine
from gritlite.runtime.options import SamplingOptions, generate_options
from tests.runtime.test_parallel import PROMPTS
from tests.runtime.test_together import in_threads


@pytest.fixture
def engine(tiny_path: Path) -> Iterator[LlamaEngine]:
    engine = LlamaEngine(tiny_path, threads=1, gpu_layers=0)
    yield engine
    engine.close()


@pytest.mark.parametrize(
    "options",
    [
        {"frequency_penalty": 0.25},
        {"frequency_penalty": -0.02},
        {"presence_penalty": 1.5},
        {"presence_penalty": -2, "frequency_penalty": 0.125},
        {"logit_bias": {3: 4.0, 9: -100, 17: 2.5}},
        {"logit_bias": {3: 4.0}, "frequency_penalty": 0.5, "presence_penalty": 0.25},
    ],
    ids=str,
)
def test_the_formula(engine: LlamaEngine, options: dict[str, Any]) -> None:
    """Over more tokens than llama.cpp's own window of 64, and of the answer alone."""
    given = SamplingOptions(temperature=0, **options)
    sampler = engine.sampler(given, seen=[0, 1, 2] * 30)
    size = engine.vocabulary.size
    logits = np.random.default_rng(0).normal(size=size).astype(np.float32)
    counts, bias = np.zeros(size), np.zeros(size)
    for token, value in given.logit_bias.items():
        bias[token] = value
    for _ in range(200):
        adjusted = logits + bias - counts * given.frequency_penalty
        adjusted -= (counts > 0) * given.presence_penalty
        token = sampler.choose(logits)
        assert token == adjusted.argmax()
        counts[token] += 1
    sampler.close()


def test_a_bias_forbids_and_forces(tiny_model: GritLM) -> None:
    plain = tiny_model.generate("Once", stream=True, temperature=0, max_tokens=20)
    list(plain)
    forbidden = dict.fromkeys(plain.generated, -100)
    other = tiny_model.generate(
        "Once", stream=True, temperature=0, max_tokens=20, logit_bias=forbidden
    )
    list(other)
    assert not set(other.generated) & set(plain.generated)
    forced = tiny_model.generate(
        "Once", stream=True, temperature=1, max_tokens=5, logit_bias={42: 100}
    )
    list(forced)
    assert forced.generated == [42] * 5


def test_a_grammar_comes_before_a_bias(tiny_model: GritLM) -> None:
    letter = tiny_model.tokenize("x", continues=True)[0]
    options: dict[str, Any] = {"temperature": 0, "grammar": 'root ::= "a" "b"'}
    assert tiny_model.generate("Once", logit_bias={letter: 100}, **options) == "ab"


@pytest.mark.parametrize(
    "options",
    [
        {"frequency_penalty": 1.5, "presence_penalty": 0.5},
        {"frequency_penalty": 0.5, "repeat_penalty": 1.2, "logit_bias": {42: 1.5, 7: -100}},
    ],
    ids=str,
)
def test_answers_together_are_those_of_each_alone(tiny_path: Path, options: dict[str, Any]) -> None:
    """Penalties count an answer's own tokens, whatever others the batch has."""
    with GritLM(tiny_path, threads=2, parallel=4) as model:

        def answer(prompt: str) -> str:
            return model.generate(prompt, temperature=0, max_tokens=24, **options)

        alone = []
        for prompt in PROMPTS[:4]:
            model.clear_cache()
            alone.append(answer(prompt))
        assert len(set(alone)) == 4
        model.clear_cache()
        assert in_threads([lambda prompt=prompt: answer(prompt) for prompt in PROMPTS[:4]]) == alone


def test_a_token_of_another_vocabulary(tiny_model: GritLM) -> None:
    for token in (-1, tiny_model.engine.vocabulary.size, 50256):
        with pytest.raises(UsageError, match=f"logit_bias has the token {token}: .* ids") as error:
            tiny_model.generate("Once", logit_bias={token: 1})
        assert error.value.argument == "logit_bias"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frequency_penalty": 2.1}, "frequency_penalty is 2.1: expected -2.0 to 2.0"),
        ({"presence_penalty": -3}, "presence_penalty is -3"),
        ({"presence_penalty": float("nan")}, "presence_penalty is nan"),
        ({"frequency_penalty": "much"}, "frequency_penalty is 'much': expected a number"),
        ({"logit_bias": {1: 101}}, "logit_bias of token 1 is 101: expected a number from -100"),
        ({"logit_bias": {1: float("nan")}}, "logit_bias of token 1 is nan"),
        ({"logit_bias": {1: True}}, "logit_bias of token 1 is True"),
        ({"logit_bias": {"1": 1}}, "logit_bias has the token '1': expected an id"),
        ({"logit_bias": [(1, 1)]}, "logit_bias is of type list"),
    ],
    ids=str,
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        generate_options(**options)
    assert error.value.argument == next(iter(options))
