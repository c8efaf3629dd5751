"""`/v1/embeddings`: the numbers of `GritLM.encode`, bit for bit."""

import base64
import threading

import numpy as np
import pytest

import gritlite
from gritlite.serve.settings import QUERY_INSTRUCTION


def vectors(answered):
    assert answered.status == 200, answered.body
    data = answered.json["data"]
    assert [each["index"] for each in data] == list(range(len(data)))
    return np.array([each["embedding"] for each in data], np.float32)


def test_floats_are_those_of_encode(client, served_model):
    texts = ["one text", "another text of more words", "third"]
    answered = client.post("/v1/embeddings", {"input": texts, "encoding_format": None})
    assert np.array_equal(vectors(answered), served_model.encode(texts))
    counts = served_model.token_counts(texts)
    assert answered.json["usage"] == {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    single = client.post("/v1/embeddings", {"input": texts[0], "encoding_format": "float"})
    assert np.array_equal(vectors(single)[0], served_model.encode(texts[0]))


def test_base64_is_little_endian_float32(client, served_model):
    answered = client.post("/v1/embeddings", {"input": "text", "encoding_format": "base64"})
    raw = base64.b64decode(answered.json["data"][0]["embedding"])
    assert np.array_equal(np.frombuffer(raw, "<f4"), served_model.encode("text"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input_type": "search_query"}, QUERY_INSTRUCTION),
        ({"input_type": "search_document"}, ""),
        ({"prompt_name": "query"}, QUERY_INSTRUCTION),
        ({"prompt_name": "document", "input_type": None, "instruction": None}, ""),
        ({"input_type": "search_document", "model": "tiny:query"}, ""),
        ({"model": "tiny:query"}, QUERY_INSTRUCTION),
        ({"model": "tiny:latest"}, ""),
        ({"instruction": "Find songs", "model": "tiny:query"}, "Find songs"),
        ({"instruction": "", "model": "tiny:query"}, ""),
    ],
)
def test_what_the_texts_are_for(client, served_model, fields, words):
    prompt = gritlite.instruction(words) if words else ""
    expected = served_model.encode(["a question"], instruction=prompt)
    answered = client.post("/v1/embeddings", {"input": ["a question"], **fields})
    assert np.array_equal(vectors(answered), expected)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (
            {"instruction": "Find songs", "input_type": "search_document"},
            "instruction and input_type",
        ),
        ({"prompt_name": "document", "input_type": "search_query"}, "prompt_name and input_type"),
        ({"instruction": "", "prompt_name": "query"}, "instruction and prompt_name"),
        (
            {"instruction": "x", "prompt_name": "query", "input_type": "song"},
            "instruction and prompt_name and input_type",
        ),
    ],
)
def test_only_one_field_says_what_texts_are_for(client, fields, names):
    answered = client.post("/v1/embeddings", {"input": "a question", **fields})
    assert answered.status == 400
    problem = f"{names} each say what the texts are for: give one of them"
    assert answered.error["message"] == problem
    assert answered.error["param"] == list(fields)[-1]


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused(client, given):
    answered = client.post("/v1/embeddings", {"input": given})
    assert answered.status == 400
    assert "check_embedding_ctx_length=False" in answered.error["message"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"input": []}, "invalid_value"),
        ({"input": ["x"] * 2049}, "invalid_value"),
        ({"input": ["x", ""]}, "empty_text"),
        ({"input": "word " * 3000}, "context_length_exceeded"),
        ({"input": "x", "dimensions": 5}, "invalid_value"),
        ({"input": "x", "input_type": "song"}, "invalid_value"),
        ({"input": "x", "encoding_format": "int8"}, "invalid_value"),
        ({"input": None}, "invalid_value"),
    ],
)
def test_what_cannot_be_embedded(client, fields, code):
    answered = client.post("/v1/embeddings", fields)
    assert answered.status == 400
    assert answered.error["code"] == code


def test_the_full_dimension_is_allowed(client, served_model):
    body = {"input": "x", "dimensions": served_model.dimension}
    assert client.post("/v1/embeddings", body).status == 200


def test_many_requests_at_once_get_their_own_vectors(client, served_model):
    texts = [f"text number {number} of many" for number in range(24)]
    found = {}

    def ask(number):
        found[number] = vectors(client.post("/v1/embeddings", {"input": texts[number]}))[0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = served_model.encode(texts)
    together = np.array([found[number] for number in range(len(texts))])
    assert np.all(np.sum(together * expected, axis=1) > 0.99999)  # passes differ in rounding
