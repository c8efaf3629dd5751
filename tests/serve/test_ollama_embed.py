"""`/api/embed` and `/api/embeddings`: the numbers of `GritLM.encode`, bit for bit."""

import numpy as np
import pytest

import gritlite
from gritlite.serve.settings import QUERY_INSTRUCTION

TEXTS = ["one text", "another text of more words", "third"]


def vectors(answered):
    assert answered.status == 200, answered.body
    return np.array(answered.json["embeddings"], np.float32)


def test_vectors_are_those_of_encode(client, served_model):
    answered = client.post("/api/embed", {"model": "tiny", "input": TEXTS})
    assert np.array_equal(vectors(answered), served_model.encode(TEXTS))
    assert answered.json["prompt_eval_count"] == sum(served_model.token_counts(TEXTS))
    assert answered.json["total_duration"] > 0
    answered = client.post("/api/embed", {"model": "tiny", "input": TEXTS[0]})
    assert np.array_equal(vectors(answered)[0], served_model.encode(TEXTS[0]))


def test_the_old_address_has_one_vector(client, served_model):
    answered = client.post("/api/embeddings", {"model": "tiny", "prompt": TEXTS[1]})
    found = np.array(answered.json["embedding"], np.float32)
    assert np.array_equal(found, served_model.encode(TEXTS[1]))
    assert client.post("/api/embeddings", {"model": "tiny"}).json == {"embedding": []}


def test_queries_have_a_name_of_their_own(client, served_model):
    expected = served_model.encode(TEXTS, instruction=gritlite.instruction(QUERY_INSTRUCTION))
    answered = client.post("/api/embed", {"model": "tiny:query", "input": TEXTS})
    assert np.array_equal(vectors(answered), expected)
    old = client.post("/api/embeddings", {"model": "tiny:query", "prompt": TEXTS[2]})
    alone = served_model.encode(TEXTS[2], instruction=gritlite.instruction(QUERY_INSTRUCTION))
    assert np.array_equal(np.array(old.json["embedding"], np.float32), alone)


@pytest.mark.parametrize("truncate", [{}, {"truncate": True}, {"truncate": None}])
def test_a_long_text_is_cut(client, served_model, truncate):
    text, limit = "word " * 3000, served_model.max_length
    (expected,) = served_model.encode_stream([text], too_long="truncate")
    answered = client.post("/api/embed", {"model": "tiny", "input": text, **truncate})
    assert answered.json["prompt_eval_count"] == limit
    assert np.array_equal(vectors(answered), expected)


@pytest.mark.parametrize("given", ["", [], None])
def test_no_text_has_no_vector(client, given):
    assert client.post("/api/embed", {"input": given}).json["embeddings"] == []
