"""Re-ranking in Jina's and Cohere's shape, and Cohere's embeddings."""

import base64

import numpy as np
import pytest

import gritlite
from gritlite.serve.settings import QUERY_INSTRUCTION

QUERY = "Who founded the inn?"
DOCUMENTS = ["The inn was founded by Ada.", "Bread needs salt.", "A lighthouse stands alone."]
PATHS = ["/v1/rerank", "/v2/rerank"]


def cosines(model, query, documents, words=QUERY_INSTRUCTION):
    vector = model.encode([query], instruction=gritlite.instruction(words))[0]
    found = model.encode(documents)
    return found.astype(float) @ vector.astype(float)


@pytest.mark.parametrize("path", PATHS)
def test_documents_are_sorted_by_cosine(client, served_model, path):
    answered = client.post(path, {"model": "tiny", "query": QUERY, "documents": DOCUMENTS})
    assert answered.status == 200, answered.body
    expected = cosines(served_model, QUERY, DOCUMENTS)
    results = answered.json["results"]
    assert [each["index"] for each in results] == np.argsort(-expected).tolist()
    for each in results:
        assert set(each) == {"index", "relevance_score"}
        assert each["relevance_score"] == pytest.approx(expected[each["index"]], abs=1e-7)
    tokens = sum(served_model.token_counts(DOCUMENTS)) + sum(
        served_model.token_counts([QUERY], instruction=gritlite.instruction(QUERY_INSTRUCTION))
    )
    assert answered.json["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert answered.json["meta"]["api_version"] == {"version": path[2]}


def test_the_best_with_their_texts(client):
    documents = [DOCUMENTS[0], {"text": DOCUMENTS[1], "id": 5}, DOCUMENTS[2]]
    body = {"query": QUERY, "documents": documents, "return_documents": True}
    whole = client.post("/v1/rerank", body).json["results"]
    assert [each["document"]["text"] for each in whole] == [DOCUMENTS[i["index"]] for i in whole]
    assert client.post("/v1/rerank", {**body, "top_n": 2}).json["results"] == whole[:2]
    assert client.post("/v1/rerank", {**body, "top_n": 50}).json["results"] == whole


def test_an_instruction_for_the_query(client, served_model):
    body = {"query": QUERY, "documents": DOCUMENTS, "instruction": "Find songs"}
    results = client.post("/v1/rerank", body).json["results"]
    expected = cosines(served_model, QUERY, DOCUMENTS, "Find songs")
    found = {each["index"]: each["relevance_score"] for each in results}
    assert [found[i] for i in range(3)] == pytest.approx(expected.tolist(), abs=1e-7)


def test_long_documents_are_cut(client, served_model):
    documents = ["word " * 3000, DOCUMENTS[0]]
    results = client.post("/v1/rerank", {"query": QUERY, "documents": documents}).json["results"]
    (vectors,) = served_model.encode_stream(documents, too_long="truncate")
    prompt = gritlite.instruction(QUERY_INSTRUCTION)
    expected = vectors.astype(float) @ served_model.encode(QUERY, instruction=prompt).astype(float)
    found = {each["index"]: each["relevance_score"] for each in results}
    assert [found[i] for i in range(2)] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"documents": []}, 400),
        ({"documents": ["x", ""]}, 400),
        ({"documents": ["x"] * 2049}, 400),
        ({"documents": [5]}, 400),
        ({"query": ""}, 400),
        ({"query": "word " * 3000}, 400),
        ({"query": None}, 400),
        ({"top_n": 0}, 400),
        ({"model": "other"}, 404),
    ],
)
def test_what_cannot_be_sorted(client, path, fields, status):
    answered = client.post(path, {"query": QUERY, "documents": DOCUMENTS, **fields})
    assert answered.status == status
    assert set(answered.json) == ({"message"} if path[2] == "2" else {"error"})


@pytest.mark.parametrize(
    ("kind", "words"), [("search_query", QUERY_INSTRUCTION), ("search_document", ""), (None, "")]
)
def test_coheres_embeddings_are_those_of_encode(client, served_model, kind, words):
    prompt = gritlite.instruction(words) if words else ""
    expected = served_model.encode(DOCUMENTS, instruction=prompt)
    types = ["float", "base64"]
    body = {"model": "tiny", "texts": DOCUMENTS, "input_type": kind, "embedding_types": types}
    found = client.post("/v2/embed", body).json
    assert np.array_equal(np.array(found["embeddings"]["float"], np.float32), expected)
    raw = [np.frombuffer(base64.b64decode(each), "<f4") for each in found["embeddings"]["base64"]]
    assert np.array_equal(np.array(raw), expected)
    assert found["texts"] == DOCUMENTS
    tokens = sum(served_model.token_counts(DOCUMENTS, instruction=prompt))
    assert found["meta"]["billed_units"] == {"input_tokens": tokens}
    alone = client.post("/v2/embed", {"texts": DOCUMENTS, "input_type": kind}).json["embeddings"]
    assert alone == {"float": found["embeddings"]["float"]}


@pytest.mark.parametrize("truncate", [None, "END"])
def test_long_texts_are_cut_for_cohere(client, served_model, truncate):
    text = "word " * 3000
    found = client.post("/v2/embed", {"texts": [text], "truncate": truncate}).json["embeddings"]
    (expected,) = served_model.encode_stream([text], too_long="truncate")
    assert np.array_equal(np.array(found["float"], np.float32), expected)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"texts": []}, 400),
        ({"texts": [[1, 2]]}, 400),
        ({"texts": ["word " * 3000], "truncate": "NONE"}, 400),
        ({"truncate": "START"}, 400),
        ({"embedding_types": ["int8"]}, 400),
        ({"input_type": "image"}, 400),
        ({"output_dimension": 5}, 400),
        ({"model": "other"}, 404),
    ],
)
def test_coheres_errors(client, fields, status):
    answered = client.post("/v2/embed", {"texts": DOCUMENTS, **fields})
    assert answered.status == status
    assert set(answered.json) == {"message"}
