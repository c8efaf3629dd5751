"""llama-index-embeddings-openai-like."""

import numpy as np
import openai
import pytest
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TEXTS, TOO_LONG, TOO_LONG_TO_EMBED


def test_vectors(server: Server, model):
    client = OpenAILikeEmbedding(model_name=NAME, api_base=server.openai, api_key=server.key)
    found = np.asarray(client.get_text_embedding_batch(TEXTS), np.float32)
    np.testing.assert_array_equal(found, model.encode(TEXTS))
    assert len(client.get_query_embedding(TEXTS[0])) == model.dimension


@pytest.mark.parametrize(
    ("name", "text", "message"), [("gpt-9", "x", "gpt-9"), (NAME, TOO_LONG, TOO_LONG_TO_EMBED)]
)
def test_errors(server: Server, name, text, message):
    client = OpenAILikeEmbedding(
        model_name=name, api_base=server.openai, api_key=server.key, max_retries=0
    )
    with pytest.raises(openai.APIStatusError, match=message):
        client.get_text_embedding(text)
