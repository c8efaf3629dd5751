"""Scores are transformers' log-probabilities, and so is the perplexity made of them."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gritlite import GritLM
from tests.oracle.conftest import Pair
from tests.tiny_tokenizers import SENTENCES

pytestmark = pytest.mark.torch

CASES = (
    *("mistral", "llama-tied", "llama-yarn", "qwen2"),
    pytest.param("smollm2", marks=pytest.mark.real),
)


@pytest.mark.parametrize("case", CASES)
def test_scores(request: pytest.FixtureRequest, case: str) -> None:
    pair: Pair = (
        request.getfixturevalue("smollm2_pair")
        if case == "smollm2"
        else request.getfixturevalue("tiny_pair")(case)
    )
    theirs = AutoModelForCausalLM.from_pretrained(pair.folder, dtype=torch.float32)
    with GritLM(pair.file) as ours:
        tokens = ours.tokenize(" ".join(SENTENCES * 20))[:512]
        found = ours.score(tokens)
    expected = log_probabilities(theirs, tokens)
    assert np.abs(found - expected).max() < 0.05
    # perplexity: the exponential of the mean
    assert np.exp(expected.mean() - found.mean()) == pytest.approx(1, abs=0.001)


def log_probabilities(model: Any, tokens: list[int]) -> np.ndarray:
    """Of all tokens but the first, float64 [n - 1]."""
    ids = torch.tensor([tokens])
    with torch.no_grad():
        logits = model(ids).logits[0, :-1].double()
    return logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].numpy()
