"""Log-probabilities of answers: the model's own, whatever the samplers do."""

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import UsageError
from gritlite.runtime.scorer import Scorer

PROMPT = "Once upon a time"


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"temperature": 1.5, "seed": 3, "top_k": 5, "repeat_penalty": 1.3},
        {"temperature": 0, "grammar": "root ::= [a-z]+"},
    ],
)
def test_they_are_those_of_the_raw_distribution(tiny_model: GritLM, options: dict) -> None:
    answer = tiny_model.generate(PROMPT, stream=True, max_tokens=12, top_logprobs=4, **options)
    "".join(answer)
    records = answer.logprobs
    assert [record.token for record in records] == answer.generated
    found = [record.log_probability for record in records]
    with Scorer(tiny_model) as scorer:  # another context, many tokens a pass
        expected = scorer.score(answer.tokens, answer.prompt_tokens)
        logits = scorer.logits(answer.tokens, answer.prompt_tokens)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    for record, row in zip(records, logits, strict=True):
        values = [value for _, value in record.likeliest]
        assert values == sorted(values, reverse=True)
        best = np.sort(row)[::-1][:4] - np.logaddexp.reduce(row.astype(np.float64))
        np.testing.assert_allclose(values, best, atol=2e-3)


def test_any_number_of_likeliest_tokens(tiny_model: GritLM) -> None:
    for count in (0, 1, 10_000):
        answer = tiny_model.generate(PROMPT, stream=True, max_tokens=2, top_logprobs=count)
        "".join(answer)
        size = tiny_model.engine.vocabulary.size
        assert [len(record.likeliest) for record in answer.logprobs] == [min(count, size)] * 2
    assert sum(np.exp(value) for _, value in answer.logprobs[0].likeliest) == pytest.approx(1)


def test_none_are_kept_unless_asked_for(tiny_model: GritLM) -> None:
    answer = tiny_model.generate(PROMPT, stream=True, max_tokens=2)
    "".join(answer)
    assert answer.logprobs == []


def test_the_end_token_is_not_one_of_them(tiny_model: GritLM) -> None:
    answer = tiny_model.generate(PROMPT, stream=True, grammar='root ::= "ab"', top_logprobs=0)
    assert "".join(answer) == "ab"
    assert [record.token for record in answer.logprobs] == answer.generated


@pytest.mark.parametrize("count", [-1, 1.5, True])
def test_a_wrong_number(tiny_model: GritLM, count: object) -> None:
    with pytest.raises(UsageError, match="top_logprobs is"):
        tiny_model.generate(PROMPT, top_logprobs=count)
