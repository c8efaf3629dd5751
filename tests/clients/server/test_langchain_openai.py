"""langchain-openai."""

import numpy as np
import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TEXTS, TOO_LONG, TOO_LONG_TO_ANSWER, TOO_LONG_TO_EMBED


@pytest.fixture
def chat(server: Server):
    return ChatOpenAI(
        model=NAME, base_url=server.openai, api_key=server.key, temperature=0, max_tokens=10
    )


def embeddings(server: Server, **options):
    return OpenAIEmbeddings(model=NAME, base_url=server.openai, api_key=server.key, **options)


def test_a_chat_whole_and_streamed(chat, model):
    messages = [{"role": "user", "content": "Who sells bread?"}]
    expected = model.chat(messages, temperature=0, max_tokens=10)
    whole = chat.invoke("Who sells bread?")
    assert whole.content == expected
    assert whole.usage_metadata["output_tokens"] <= 10
    assert "".join(str(part.content) for part in chat.stream("Who sells bread?")) == expected


def test_vectors(server, model):
    client = embeddings(server, check_embedding_ctx_length=False)
    found = np.asarray(client.embed_documents(TEXTS), np.float32)
    np.testing.assert_array_equal(found, model.encode(TEXTS))
    assert len(client.embed_query(TEXTS[0])) == model.dimension


def test_token_ids_are_refused_and_the_cure_is_named(server, monkeypatch):
    """By default it sends ids of OpenAI's vocabulary, which would be other words here."""
    client = embeddings(server)
    monkeypatch.setattr(client, "_tokenize", lambda *_: (iter([0]), [[1, 2, 3]], [0], [3]))
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        client.embed_documents(["text"])


def test_a_structured_answer(server):
    schema = {
        "title": "Trade",
        "type": "object",
        "properties": {"sells": {"type": "boolean"}},
        "required": ["sells"],
        "additionalProperties": False,
    }
    chat = ChatOpenAI(model=NAME, base_url=server.openai, api_key=server.key, temperature=0)
    found = chat.with_structured_output(schema, method="json_schema").invoke("Who sells bread?")
    assert isinstance(found["sells"], bool)


def test_texts_that_are_too_long(server, chat):
    with pytest.raises(openai.BadRequestError, match=TOO_LONG_TO_ANSWER):
        chat.invoke(TOO_LONG)
    with pytest.raises(openai.BadRequestError, match=TOO_LONG_TO_EMBED):
        embeddings(server, check_embedding_ctx_length=False).embed_query(TOO_LONG)


def test_an_error(server):
    chat = ChatOpenAI(model="gpt-9", base_url=server.openai, api_key=server.key)
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        chat.invoke("Hello")
