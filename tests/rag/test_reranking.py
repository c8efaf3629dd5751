"""Re-ranking by how likely the model finds the query after each passage."""

import numpy as np
import pytest

from gritlite import InputTooLongError, UsageError
from gritlite.rag.store import Store
from gritlite.runtime.scorer import Scorer
from tests.rag.documents import notes

QUERY = "Who founded the inn?"


@pytest.fixture
def store(tmp_path, tiny_model):
    with Store.open(tmp_path / "a.grit", tiny_model) as opened:
        opened.add(notes(tmp_path / "notes"))
        yield opened


def test_the_order_is_that_of_the_likelihoods(store, tiny_model):
    plain = store.search(QUERY, 4)
    found = store.search(QUERY, 2, rerank=4)
    wanted = {}
    for passage in plain:
        asked = f"Passage: {passage.embedded}. Please write a question based on this passage."
        prompt = tiny_model.chat_tokens([{"role": "user", "content": asked}])
        words = tiny_model._tokenizer.plain(QUERY, continues=True).tolist()
        tokens = [*prompt, *words]
        logits = Scorer(tiny_model).logits(tokens, len(prompt)).astype(np.float64)
        chosen = logits[range(len(logits)), tokens[len(prompt) :]]
        normalizers = np.log(np.exp(logits).sum(axis=1))
        wanted[passage.chunk] = (chosen - normalizers).mean()
    best = sorted(wanted, key=wanted.__getitem__, reverse=True)
    assert [passage.chunk for passage in found] == best[:2]
    assert [passage.score for passage in found] == pytest.approx(
        [wanted[passage.chunk] for passage in found], rel=1e-4
    )


def test_it_takes_no_fewer_than_are_wanted(store):
    with pytest.raises(UsageError, match="rerank is 2: expected 0, or 3 to 2147483647 passages"):
        store.search(QUERY, 3, rerank=2)
    assert len(store.search(QUERY, 3, rerank=50)) == 3
    answer = store.ask(QUERY, 1, rerank=4, max_tokens=2)
    assert answer.passages == store.search(QUERY, 1, rerank=4)


def test_a_query_that_the_context_cannot_hold_beside_a_passage(store, tiny_model):
    with pytest.raises(InputTooLongError):
        store.search("inn " * tiny_model.context_length, 1, mode="words", rerank=4)
