"""llama-index-llms-openai-like, whose client is openai 2."""

import openai
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from gritlite import GritLM
from tests.clients.running_server import NAME, gritlite_serve

MESSAGES = [ChatMessage(role="user", content="Who sells bread?")]


@pytest.fixture(scope="module")
def client(tiny_path):
    with gritlite_serve(tiny_path) as server:
        yield OpenAILike(
            model=NAME,
            api_base=server.openai,
            api_key=server.key,
            is_chat_model=True,
            temperature=0,
            max_tokens=10,
        )


def test_a_chat_whole_and_streamed(client, tiny_path):
    with GritLM(tiny_path, threads=1, engine="llama") as model:
        expected = model.chat(
            [{"role": "user", "content": "Who sells bread?"}], temperature=0, max_tokens=10
        )
    assert client.chat(MESSAGES).message.content == expected
    assert "".join(part.delta or "" for part in client.stream_chat(MESSAGES)) == expected


def test_a_message_that_is_too_long(client):
    long = [ChatMessage(role="user", content="bread " * 3000)]
    with pytest.raises(openai.BadRequestError, match="maximum context length is 1024"):
        client.chat(long)
