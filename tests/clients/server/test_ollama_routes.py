"""Other packages' ways to Ollama: litellm's two routes, and chromadb's embedding function."""

from contextlib import ExitStack

import litellm
import numpy as np
import ollama
import pytest
from chromadb.utils.embedding_functions.ollama_embedding_function import OllamaEmbeddingFunction

from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TEXTS

pytestmark = pytest.mark.usefixtures("litellm_connections")
MESSAGES = [{"role": "user", "content": "Who sells bread?"}]


@pytest.fixture
def address(server: Server):
    return {"api_base": server.url, "api_key": server.key}


def test_litellms_chat(address, model):
    asked = {**address, "messages": MESSAGES, "temperature": 0, "max_tokens": 10}
    expected = model.chat(MESSAGES, temperature=0, max_tokens=10)
    whole = litellm.completion(f"ollama_chat/{NAME}", **asked)
    assert whole.choices[0].message.content == expected
    assert whole.usage.prompt_tokens == len(model.chat_tokens(MESSAGES))
    parts = litellm.completion(f"ollama_chat/{NAME}", **asked, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected


def test_litellms_prompt(address, model):
    """The route `ollama/` writes the chat as one prompt, in a form of its own."""
    messages = [{"role": "user", "content": "Once upon a time"}]
    asked = {**address, "messages": messages, "temperature": 0, "max_tokens": 10}
    prompt = [{"role": "user", "content": "### User:\nOnce upon a time\n\n"}]
    expected = model.chat(prompt, temperature=0, max_tokens=10)
    assert expected
    whole = litellm.completion(f"ollama/{NAME}", **asked)
    assert whole.choices[0].message.content == expected
    parts = litellm.completion(f"ollama/{NAME}", **asked, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected


def test_litellms_vectors(address, model):
    found = litellm.embedding(f"ollama/{NAME}", TEXTS, **address)
    vectors = np.asarray([each["embedding"] for each in found.data], np.float32)
    np.testing.assert_array_equal(vectors, model.encode(TEXTS))
    assert found.usage.prompt_tokens == sum(model.token_counts(TEXTS))


@pytest.mark.parametrize("route", ["ollama", "ollama_chat"])
def test_litellms_errors(address, route):
    with pytest.raises(litellm.NotFoundError, match="model 'gpt-9' not found"):
        litellm.completion(f"{route}/gpt-9", MESSAGES, **address)


def test_chromadb(server: Server, model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_API_KEY", server.key)
    with ExitStack() as stack:

        def function_of(name):
            function = OllamaEmbeddingFunction(server.url, name)
            stack.callback(function._client.close)  # it never closes it
            return function

        np.testing.assert_array_equal(np.stack(function_of(NAME)(TEXTS)), model.encode(TEXTS))
        with pytest.raises(ollama.ResponseError, match="model 'gpt-9' not found"):
            function_of("gpt-9")(TEXTS)
