"""Behind a bidirectional document state the logits are transformers' under the same mask."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gritlite import GritLM
from gritlite.runtime.embed import EmbedOptions
from tests.oracle.conftest import Pair

pytestmark = pytest.mark.torch

DOCUMENT = "The inn was founded by Ada Brown in 1850. It stands on a hill and has nine rooms. "
QUESTIONS = ("Who founded it?", "When was it founded, and how many rooms has it?")
CASES = (
    *("mistral", "llama-tied", "llama-yarn", "qwen2"),
    pytest.param("smollm2", marks=pytest.mark.real),
)


@pytest.mark.parametrize("case", CASES)
def test_logits_behind_a_document(request: pytest.FixtureRequest, case: str) -> None:
    pair: Pair = (
        request.getfixturevalue("smollm2_pair")
        if case == "smollm2"
        else request.getfixturevalue("tiny_pair")(case)
    )
    theirs = AutoModelForCausalLM.from_pretrained(
        pair.folder, dtype=torch.float32, attn_implementation="eager"
    )
    with GritLM(pair.file) as ours:
        state = ours.document_state(DOCUMENT)
        ((document,),) = ours._embedder.pieces([DOCUMENT], EmbedOptions())
        assert len(document.ids) == state.tokens
        for question in QUESTIONS:
            messages = [{"role": "user", "content": question}]
            answer = ours.chat(messages, stream=True, document=state, temperature=0, max_tokens=1)
            list(answer)
            assert ours._generator._decoders is not None
            found = ours._generator._decoders.members[0].logits(1)[0].copy()
            prompt = answer.tokens[: answer.prompt_tokens]
            ids = [*document.ids.tolist(), *prompt]
            expected = last_logits(theirs, ids, state.tokens)
            causal = last_logits(theirs, ids, 0)
            spread = expected.std()
            assert np.abs(found - expected).max() < 0.01 * spread
            assert np.abs(causal - expected).max() > 0.1 * spread


def last_logits(model: Any, ids: list[int], document: int) -> np.ndarray:
    """Of the last token, where the first `document` tokens see each other, the rest what is before.

    float32 [vocabulary].
    """
    length = len(ids)
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    seen[:document, :document] = True
    mask = torch.zeros(1, 1, length, length).masked_fill(~seen, torch.finfo(torch.float32).min)
    with torch.no_grad():
        return model(torch.tensor([ids]), attention_mask=mask).logits[0, -1].numpy()
