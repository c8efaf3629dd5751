"""Greedy answers are those of transformers at f32, token for token."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gritlite import GritLM
from tests.oracle.conftest import Pair

pytestmark = pytest.mark.torch

PROMPTS = (
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain what a vector is to a child.",
    "List three fruits and their colours.",
    "Translate 'good morning' into Spanish.",
    "Who wrote Romeo and Juliet?",
    "Give me a Python function that adds two numbers.",
    "Why is the sky blue?",
    "Was ist die Hauptstadt von Österreich? 🇦🇹",
    "Continue the series: 2, 4, 8, 16,",
)
TOKENS = 32


@pytest.mark.real
def test_answers_of_smollm2(smollm2_pair: Pair) -> None:
    model = AutoModelForCausalLM.from_pretrained(smollm2_pair.folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(smollm2_pair.folder)
    with GritLM(smollm2_pair.file) as ours:
        for number, prompt in enumerate(PROMPTS):
            messages = [{"role": "user", "content": prompt}]
            if number % 2:
                messages.insert(0, {"role": "system", "content": "You are terse."})
            inputs = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            check(ours.chat(messages, stream=True, **GREEDY), model, inputs)


GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": TOKENS}


def check(answer: Any, model: Any, inputs: Any) -> None:
    """Read an answer and hold it against transformers' generate."""
    ids = inputs["input_ids"][0].tolist()
    assert answer.tokens == ids
    list(answer)
    output = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=False,
        max_new_tokens=TOKENS,
        pad_token_id=0,
    )
    expected = output[0].tolist()[len(ids) :]
    if answer.finish_reason == "stop":
        assert expected[len(answer.generated) :] == [model.generation_config.eos_token_id]
        expected.pop()
    assert len(answer.generated) >= 4
    assert answer.generated == expected
