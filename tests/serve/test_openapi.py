"""Answers have the fields of the OpenAPI document, and no others."""

import copy

import jsonschema
import pytest

from gritlite.rag import Store
from tests.rag.documents import notes
from tests.runtime.test_tools import TEMPLATE, WEATHER, load
from tests.serve.running import serving
from tests.serve.test_tools import HERMES, Writes

HELLO = [{"role": "user", "content": "Who founded the inn?"}]
CHAT = {"messages": HELLO, "max_tokens": 8, "logprobs": True, "top_logprobs": 1, "n": 2}
INPUT = {"input": "hello", "max_output_tokens": 8}
STORED = {"model": "tiny+notes"}


@pytest.fixture(scope="module")
def client(served_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    with Store.open(folder / "notes.grit", served_model) as store:
        store.add(notes(folder / "notes"))
    with serving(served_model, stores={"notes": folder / "notes.grit"}) as client:
        yield client


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    """A client of a server whose answers call a tool."""
    with (
        load(tmp_path_factory.mktemp("tools"), TEMPLATE) as model,
        serving(Writes(model, HERMES)) as client,
    ):
        yield client


def check(client, path, body, status=200):
    """Send a request, and compare the answer with what the document says of it."""
    answered = client.post(path, body)
    assert answered.status == status
    document = closed(client.get("/openapi.json").json)
    responses = document["paths"][path]["post"]["responses"]
    described = responses[str(status) if status == 200 else "4XX"]
    schema = described["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(
        answered.json
    )
    return answered.json


def closed(document):
    """The document whose objects have no fields but those that it lists."""
    document = copy.deepcopy(document)
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return document


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/completions", {"prompt": "Once", "logprobs": 2, "max_tokens": 4}),
        ("/v1/responses", {**INPUT, "top_logprobs": 1, "instructions": "Be brief."}),
        ("/v1/embeddings", {"input": ["a", "b"]}),
        ("/v1/embeddings", {"input": "a", "encoding_format": "base64"}),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "return_documents": True}),
        ("/v1/search", {"query": "inn"}),
        ("/v1/ask", {"question": "Who founded the inn?", "max_tokens": 4}),
        ("/api/chat", {"messages": HELLO, "stream": False, "options": {"num_predict": 4}}),
        ("/api/generate", {"prompt": "x", "stream": False, "options": {"num_predict": 4}}),
        ("/api/embed", {"input": "x"}),
        ("/tokenize", {"content": "x"}),
    ],
)
def test_answers(client, path, body):
    assert "citations" not in check(client, path, body) or path == "/v1/ask"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": 4}),
        ("/v1/responses", {"input": HELLO, "max_output_tokens": 4}),
        ("/api/chat", {"messages": HELLO, "stream": False, "options": {"num_predict": 4}}),
        ("/api/generate", {"prompt": HELLO[0]["content"], "stream": False}),
    ],
)
def test_answers_from_a_store(client, path, body):
    assert check(client, path, {**body, **STORED})["citations"]


def test_calls(caller):
    flat = {"type": "function", **WEATHER["function"]}
    for path, body in (
        ("/v1/chat/completions", {"messages": HELLO, "tools": [WEATHER]}),
        ("/v1/chat/completions", {"messages": HELLO, "functions": [WEATHER["function"]]}),
        ("/v1/responses", {"input": HELLO, "tools": [flat]}),
        ("/api/chat", {"messages": HELLO, "tools": [WEATHER], "stream": False}),
    ):
        assert "arguments" in str(check(caller, path, body))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/search"])
def test_errors(client, path):
    check(client, path, {}, status=400)
