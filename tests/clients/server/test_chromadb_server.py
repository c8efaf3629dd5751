"""chromadb's embedding function for servers like OpenAI's."""

import chromadb
import numpy as np
import openai
import pytest
from chromadb.utils.embedding_functions import OpenAIEmbeddingFunction

from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TEXTS, TOO_LONG, TOO_LONG_TO_EMBED


@pytest.fixture
def function_of(keyless: Server):
    def make(name):
        return OpenAIEmbeddingFunction(
            model_name=name, api_base=keyless.openai, api_key_env_var="OPENAI_API_KEY"
        )

    return make


def test_the_key_from_its_own_variable(server, model, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("CHROMA_OPENAI_API_KEY", server.key)
    function = OpenAIEmbeddingFunction(api_base=server.openai, model_name=NAME)
    np.testing.assert_array_equal(np.stack(function(TEXTS)), model.encode(TEXTS))
    monkeypatch.setenv("OPENAI_API_KEY", "that of OpenAI")  # chromadb takes no other then
    with pytest.raises(openai.AuthenticationError):
        OpenAIEmbeddingFunction(api_base=server.openai, model_name=NAME)(TEXTS)


def test_vectors(function_of, model):
    function = function_of(NAME)
    np.testing.assert_array_equal(np.stack(function(TEXTS)), model.encode(TEXTS))


def test_a_collection(function_of, tmp_path):
    client = chromadb.PersistentClient(str(tmp_path))
    collection = client.create_collection("notes", embedding_function=function_of(NAME))
    collection.add(ids=["0", "1", "2"], documents=TEXTS)
    found = collection.query(query_texts=[TEXTS[1]], n_results=1)
    assert found["documents"] == [[TEXTS[1]]]


def test_errors(function_of):
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        function_of("gpt-9")(TEXTS)
    with pytest.raises(openai.BadRequestError, match=TOO_LONG_TO_EMBED):
        function_of(NAME)([TOO_LONG])
