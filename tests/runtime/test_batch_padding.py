"""Padded batches: when a batch is padded, and that no token attends to the padding."""

from types import SimpleNamespace

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.runtime.llama import Context, LlamaEngine, decoder
from gritlite.runtime.llama.batch_padding import TILE, padded_count
from gritlite.runtime.scorer import Scorer

SMALL = SimpleNamespace(n_layer=30, n_embd=576, n_params=134_515_008, on_gpu=False)
LARGE = SimpleNamespace(n_layer=32, n_embd=4096, n_params=7_241_732_096, on_gpu=False)
GREEDY = {"temperature": 0, "max_tokens": 12}


@pytest.mark.parametrize(
    ("weights", "tokens", "cached", "expected"),
    [
        (SMALL, 1, 8000, 1),  # the next token of an answer
        (SMALL, 50, 0, 50),
        (SMALL, 50, 1000, TILE),
        (SMALL, 20, 1000, 20),
        (SMALL, 64, 4000, 64),
        (SMALL, 500, 4000, 500),
        (LARGE, 50, 1000, 50),  # whose other work weighs more
        (LARGE, 50, 4000, TILE),
    ],
)
def test_when_a_batch_is_padded(weights, tokens, cached, expected):
    assert padded_count(tokens, cached, weights) == expected
    on_gpu = SimpleNamespace(**{**vars(weights), "on_gpu": True})
    assert padded_count(tokens, cached, on_gpu) == tokens


@pytest.fixture
def always(monkeypatch):
    """Pad every batch."""
    padded = []

    def pad(tokens, cached, _weights):
        padded.append((tokens, cached))
        return max(tokens, TILE)

    monkeypatch.setattr(decoder, "padded_count", pad)
    return padded


@pytest.mark.parametrize("case", ["llama-head-dim", "qwen2", "mistral", "mixtral"])
def test_no_token_attends_to_the_padding(tiny_file, case, request):
    prompt = "The inn was founded by Ada Brown in 1850. "
    with GritLM(tiny_file(case), threads=1) as model:
        tokens = model.tokenize(prompt)
        state = model.prefix_state(prompt)
        expected = model.generate(prompt, stream=True, **GREEDY)
        list(expected)
        logits = Scorer(model).logits(tokens, 5)
    padded = request.getfixturevalue("always")
    with GritLM(tiny_file(case), threads=1) as model:
        found = model.generate(prompt, stream=True, **GREEDY)
        list(found)
        again = Scorer(model).logits(tokens, 5)
        assert np.abs(again - logits).max() < 0.02 * np.abs(logits).max()
        assert found.generated == expected.generated
        assert model.prefix_state(prompt).tokens == state.tokens
    assert padded


@pytest.mark.usefixtures("always")
def test_padding_never_exceeds_a_batch(tiny_path, monkeypatch):
    """llama.cpp ends the process for a batch that is too long."""
    lengths = []
    monkeypatch.setattr(
        Context, "decode", lambda _, batch, *_rest: lengths.append(len(batch.tokens))
    )
    engine = LlamaEngine(tiny_path, threads=1)
    opened = engine.open_decoder(256, TILE - 20)
    opened.evaluate([5] * 30, 0, np.zeros(30, np.bool_))
    opened.close()
    engine.close()
    assert lengths == [30]


@pytest.mark.usefixtures("always")
def test_padding_never_exceeds_the_context(tiny_path, monkeypatch):
    ends = []
    decode = Context.decode

    def noted(context, batch, cancel=None):
        ends.append(int(batch.positions[-1]) + 1)
        return decode(context, batch)

    monkeypatch.setattr(Context, "decode", noted)
    with GritLM(tiny_path, threads=1, context_length=TILE + 20) as model:
        letters = {"temperature": 0, "grammar": "root ::= [a-z]{300}"}
        answer = model.generate("The inn was founded by Ada Brown.", stream=True, **letters)
        list(answer)
        assert answer.finish_reason == "context"
    assert TILE <= max(ends) <= TILE + 20
