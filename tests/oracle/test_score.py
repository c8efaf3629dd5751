"""Scores are transformers' log-probabilities, and perplexity is made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gritlite import GritLM
from gritlite.eval.perplexity import Perplexity
from gritlite.runtime.scorer import Scorer
from tests.oracle.conftest import Pair
from tests.tiny_tokenizers import SENTENCES

pytestmark = pytest.mark.torch

CASES = (
    *("mistral", "llama-tied", "llama-yarn", "qwen2"),
    pytest.param("smollm2", marks=pytest.mark.real),
)


@pytest.mark.parametrize("case", CASES)
def test_scores_and_perplexity(request: pytest.FixtureRequest, case: str, tmp_path: Path) -> None:
    pair: Pair = (
        request.getfixturevalue("smollm2_pair")
        if case == "smollm2"
        else request.getfixturevalue("tiny_pair")(case)
    )
    theirs = AutoModelForCausalLM.from_pretrained(pair.folder, dtype=torch.float32)
    path = tmp_path / "text.txt"
    path.write_text(" ".join(SENTENCES * 40), "utf-8")
    with GritLM(pair.file) as ours:
        tokens = [*([] if ours.bos is None else [ours.bos]), *ours.tokenize(path.read_text())]
        assert len(tokens) >= 1024
        chunks = [tokens[:512], tokens[512:1024]]
        if ours.bos is not None:
            chunks[1][0] = ours.bos
        found = Scorer(ours).score(chunks[0])
        (perplexity,) = Perplexity(path, limit=2).run(ours, lambda *_: None)
    expected = [log_probabilities(theirs, chunk) for chunk in chunks]
    assert np.abs(found - expected[0]).max() < 0.05
    # the last 255 of a chunk have more than half of it before them
    value = np.exp(-np.concatenate([scores[-255:] for scores in expected]).mean())
    assert perplexity.value == pytest.approx(value, rel=0.001)


def log_probabilities(model: Any, tokens: list[int]) -> np.ndarray:
    """Of all tokens but the first, float64 [n - 1]."""
    ids = torch.tensor([tokens])
    with torch.no_grad():
        logits = model(ids).logits[0, :-1].double()
    return logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].numpy()
