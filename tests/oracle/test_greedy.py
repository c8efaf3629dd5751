"""Greedy answers are those of transformers at f32, token for token.

A trained model is sure enough of its tokens to answer the same. A random one
comes upon near-ties, where rounding decides: llama.cpp keeps keys, values and,
in short passes, the running sum of attention in f16. So tiny models are held
to transformers' logits within a bound, and to its token wherever that one
leads by more than the bound can change. With keys and values in f32 the bound
is that of f32 sums in another order, and next to nothing is left undecided.
"""

from collections.abc import Callable
from typing import Any

import llama_cpp
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from gritlite import GritLM
from gritlite.runtime.engine import Logits
from gritlite.runtime.llama import Context
from gritlite.runtime.llama.sampler import LlamaSampler
from tests.oracle.conftest import Pair
from tests.oracle.routing import CLEAR_LEAD, hidden_and_leads
from tests.tiny import CASES

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
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": TOKENS}


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


# the largest error of a logit, as a share of the logits' spread, and the lead that makes a
# choice of experts clear; errors of 12 seeds of every architecture: at most 0.0062 and 7.4e-6
PRECISIONS = {"f16": (0.01, CLEAR_LEAD), "f32": (2e-5, 2e-5)}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES)
def test_answers_of_tiny_models(
    case: str,
    precision: str,
    tiny_pair: Callable[[str], Pair],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Along our own path; while all its steps are decided, it is transformers' path too."""
    error, clear_lead = PRECISIONS[precision]
    if precision == "f32":
        monkeypatch.setattr(Context, "_params", with_f32_cells(Context._params))
    steps: list[tuple[NDArray[np.float32], int]] = []
    monkeypatch.setattr(LlamaSampler, "choose", recording(LlamaSampler.choose, steps))
    pair = tiny_pair(case)
    model = AutoModelForCausalLM.from_pretrained(pair.folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(pair.folder)
    total = decided = 0
    # interrupted conversations are kept in f16 only
    with GritLM(pair.file, conversation_bytes=0) as ours:
        for prompt in PROMPTS:
            steps.clear()
            answer = ours.generate(prompt, stream=True, **GREEDY)
            list(answer)
            start = answer.prompt_tokens
            assert answer.tokens[:start] == tokenizer(prompt)["input_ids"]
            hidden, leads = hidden_and_leads(model, answer.tokens, causal=True)
            logits = np.array([step for step, _ in steps])
            tokens = np.array([token for _, token in steps])
            answered = slice(start - 1, start - 1 + len(steps))
            expected = model.lm_head(hidden[answered]).detach().numpy()
            # rounding may change an unclear choice of experts, and all that comes after it
            clear = np.logical_and.accumulate(leads > clear_lead)[answered]
            bound = error * expected.std()
            np.testing.assert_allclose(logits[clear], expected[clear], rtol=0, atol=bound)
            second, first = np.sort(expected, axis=1)[:, -2:].T
            sure = clear & (first - second > 2 * bound)
            np.testing.assert_array_equal(tokens[sure], expected.argmax(axis=1)[sure])
            total += len(steps)
            decided += sure.sum()
    assert total > 0.7 * TOKENS * len(PROMPTS)  # few answers end early
    share = 0.99 if precision == "f32" else 0.4 if case == "mixtral" else 0.9
    assert decided / total > share


def with_f32_cells(params: Callable[[Context], Any]) -> Callable[[Context], Any]:
    """Contexts with keys and values in f32, which flash attention would round to f16."""

    def changed(context: Context) -> Any:
        result = params(context)
        result.type_k = result.type_v = llama_cpp.GGML_TYPE_F32
        result.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        return result

    return changed


def recording(
    choose: Callable[[LlamaSampler, Logits], int], steps: list[tuple[Logits, int]]
) -> Callable[[LlamaSampler, Logits], int]:
    """Sampling that leaves the logits and the token of each step in `steps`."""

    def recorded(sampler: LlamaSampler, logits: Logits) -> int:
        token = choose(sampler, logits)
        steps.append((logits.copy(), token))
        return token

    return recorded
