"""Ollama's own client and langchain-ollama, before a running server."""

import contextlib

import numpy as np
import ollama
import pytest
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

import gritlite
from gritlite.prompt import QUERY_INSTRUCTION
from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TEXTS

MESSAGES = [{"role": "user", "content": "Who sells bread?"}]
GREEDY = {"temperature": 0, "num_predict": 10}


@pytest.fixture(scope="module")
def headers(server: Server):
    return {"Authorization": f"Bearer {server.key}"}


@pytest.fixture(scope="module")
def client(server: Server, headers):
    with ollama.Client(server.url, headers=headers) as opened:
        yield opened


@pytest.fixture
def langchain(server: Server, headers):
    """Makes objects of langchain-ollama's classes, which look for the model first."""
    with contextlib.ExitStack() as stack:

        def make(kind, **options):
            base = {"model": NAME, "base_url": server.url, "client_kwargs": {"headers": headers}}
            made = kind(**{**base, "validate_model_on_init": True, **options})
            stack.callback(made._client.close)  # it never closes it
            return made

        yield make


@pytest.fixture(scope="module")
def answer(model):
    return model.chat(MESSAGES, temperature=0, max_tokens=10)


@pytest.mark.parametrize("name", [NAME, f"{NAME}:latest"])
def test_a_chat_whole_and_streamed(client, answer, name):
    whole = client.chat(name, MESSAGES, options=GREEDY)
    assert whole.message.content == answer
    assert whole.done
    assert whole.eval_count <= 10
    parts = list(client.chat(name, MESSAGES, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == answer
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].total_duration >= parts[-1].eval_duration > 0


def test_a_prompt_whole_streamed_and_raw(client, answer, model):
    question = MESSAGES[0]["content"]
    assert client.generate(NAME, question, options=GREEDY).response == answer
    parts = client.generate(NAME, question, options=GREEDY, stream=True)
    assert "".join(part.response for part in parts) == answer
    raw = client.generate(NAME, question, raw=True, options=GREEDY).response
    assert raw == model.generate(question, temperature=0, max_tokens=10)
    assert client.generate(NAME).done_reason == "load"


def test_vectors(client, model):
    found = np.asarray(client.embed(NAME, TEXTS).embeddings, np.float32)
    np.testing.assert_array_equal(found, model.encode(TEXTS))
    old = np.asarray(client.embeddings(NAME, TEXTS[0]).embedding, np.float32)
    np.testing.assert_array_equal(old, model.encode(TEXTS[0]))
    queries = np.asarray(client.embed(f"{NAME}:query", TEXTS).embeddings, np.float32)
    prompt = gritlite.instruction(QUERY_INSTRUCTION)
    np.testing.assert_array_equal(queries, model.encode(TEXTS, instruction=prompt))


def test_what_there_is(client, model):
    listed = client.list().models
    assert [each.model for each in listed] == [f"{NAME}:latest", f"{NAME}:query"]
    assert listed[0].size == model.path.stat().st_size
    (loaded,) = client.ps().models
    assert loaded.expires_at.year == 9999
    shown = client.show(NAME)
    assert shown.capabilities == ["completion", "embedding"]
    assert shown.modelinfo["general.architecture"] == shown.details.family


def test_errors(client, server):
    for ask in (client.chat, client.generate, client.embed, client.show):
        with pytest.raises(ollama.ResponseError, match="model 'gpt' not found") as caught:
            ask("gpt")
        assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="context length"):
        client.chat(NAME, [{"role": "user", "content": "bread " * 5000}])
    with pytest.raises(ollama.ResponseError, match="context length"):
        list(client.chat(NAME, [{"role": "user", "content": "bread " * 5000}], stream=True))
    with pytest.raises(ollama.ResponseError, match="only text"):
        client.chat(NAME, [{**MESSAGES[0], "images": [b"picture"]}])
    with pytest.raises(ollama.ResponseError, match="limit"):
        client.embed(NAME, "bread " * 5000, truncate=False)
    for change in (client.pull, client.push, client.delete):
        with pytest.raises(ollama.ResponseError, match="chosen when it starts"):
            change(NAME)
    with ollama.Client(server.url) as other, pytest.raises(ollama.ResponseError) as caught:
        other.list()
    assert caught.value.status_code == 401


def test_langchains_chat(langchain, answer):
    chat = langchain(ChatOllama, temperature=0, num_predict=10)
    whole = chat.invoke(MESSAGES[0]["content"])
    assert whole.content == answer
    assert whole.usage_metadata["output_tokens"] <= 10
    assert "".join(part.content for part in chat.stream(MESSAGES[0]["content"])) == answer
    schema = {
        "title": "Answer",
        "type": "object",
        "properties": {"sold": {"enum": ["yes", "no"]}},
        "required": ["sold"],
        "additionalProperties": False,
    }
    long = langchain(ChatOllama, temperature=0, num_predict=60)
    structured = long.with_structured_output(schema, method="json_schema")
    assert structured.invoke(MESSAGES[0]["content"])["sold"] in ("yes", "no")


def test_langchains_llm(langchain, answer):
    llm = langchain(OllamaLLM, temperature=0, num_predict=10)
    assert llm.invoke(MESSAGES[0]["content"]) == answer


def test_langchains_embeddings(langchain, model):
    embeddings = langchain(OllamaEmbeddings)
    found = np.asarray(embeddings.embed_documents(TEXTS), np.float32)
    np.testing.assert_array_equal(found, model.encode(TEXTS))
    queries = langchain(OllamaEmbeddings, model=f"{NAME}:query")
    expected = model.encode([TEXTS[0]], instruction=gritlite.instruction(QUERY_INSTRUCTION))
    np.testing.assert_array_equal(np.asarray([queries.embed_query(TEXTS[0])], np.float32), expected)


def test_langchain_is_told_of_an_unknown_model(langchain):
    chat = langchain(ChatOllama, model="gpt", validate_model_on_init=False)
    with pytest.raises(ollama.ResponseError, match="not found"):
        chat.invoke("Hello")
