"""haystack-ai."""

import numpy as np
import openai
import pytest
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret

from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TEXTS, TOO_LONG, TOO_LONG_TO_ANSWER, TOO_LONG_TO_EMBED


@pytest.fixture
def route(server: Server):
    return {"api_key": Secret.from_token(server.key), "api_base_url": server.openai, "model": NAME}


def test_a_chat_whole_and_streamed(route, model):
    expected = model.chat(
        [{"role": "user", "content": "Who sells bread?"}], temperature=0, max_tokens=10
    )
    pieces = []
    for callback in (None, lambda part: pieces.append(part.content)):
        client = OpenAIChatGenerator(
            **route,
            streaming_callback=callback,
            generation_kwargs={"temperature": 0, "max_tokens": 10},
        )
        (reply,) = client.run([ChatMessage.from_user("Who sells bread?")])["replies"]
        assert reply.text == expected
    assert "".join(pieces) == expected


def test_vectors(route, model):
    documents = OpenAIDocumentEmbedder(**route).run([Document(content=text) for text in TEXTS])
    found = np.asarray([each.embedding for each in documents["documents"]], np.float32)
    np.testing.assert_array_equal(found, model.encode(TEXTS))
    query = OpenAITextEmbedder(**{**route, "model": f"{NAME}:query"}).run(TEXTS[0])
    assert len(query["embedding"]) == model.dimension


def test_errors(route):
    unknown = OpenAIChatGenerator(**{**route, "model": "gpt-9"})
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        unknown.run([ChatMessage.from_user("Hello")])
    with pytest.raises(openai.BadRequestError, match=TOO_LONG_TO_ANSWER):
        OpenAIChatGenerator(**route).run([ChatMessage.from_user(TOO_LONG)])
    with pytest.raises(openai.BadRequestError, match=TOO_LONG_TO_EMBED):
        OpenAITextEmbedder(**route).run(TOO_LONG)
