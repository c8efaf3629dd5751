"""Packed with others or alone, a text takes the same experts, but where two are all but equal."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gritlite import GritLM, instruction
from tests.oracle.conftest import Pair
from tests.oracle.routing import CLEAR_LEAD, hidden_and_leads
from tests.some_texts import some_texts

pytestmark = pytest.mark.torch


def test_vectors_of_clear_choices(tiny_pair: Callable[[str], Pair]) -> None:
    """A pass of fewer than 64 tokens sums attention in f16, a longer one in f32.

    That changes one choice in these texts, by a lead of 0.0003, and a cosine to 0.9998.
    """
    pair = tiny_pair("mixtral")
    texts = some_texts(40)
    query = instruction("Find it")
    with GritLM(pair.file) as ours:
        packed = ours.encode(texts, instruction=query)
        alone = np.array([ours.encode(text, instruction=query) for text in texts])
        tokenizer = ours._tokenizer
        prompt = tokenizer.prompt(query)
        tokens = [tokenizer.text(prompt, text) for text in texts]
    model = AutoModelForCausalLM.from_pretrained(pair.folder, dtype=torch.float32)
    theirs, clear = [], []
    for text in tokens:
        hidden, leads = hidden_and_leads(model, text.ids.tolist(), causal=False)
        mean = hidden[text.start :].mean(dim=0)
        theirs.append((mean / mean.norm()).numpy())
        clear.append(leads.min() > CLEAR_LEAD)
    short = [len(text.ids) < 64 for text in tokens]
    assert np.mean(np.logical_and(clear, short)) > 0.3
    assert (packed * alone).sum(axis=1)[clear].min() > 0.999999
    assert (packed * theirs).sum(axis=1)[clear].min() > 0.999999
