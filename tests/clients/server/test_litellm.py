"""litellm, by its route for servers like OpenAI's."""

import litellm
import numpy as np
import pytest

from tests.clients.running_server import NAME, Server
from tests.clients.server.conftest import TEXTS, TOO_LONG, TOO_LONG_TO_EMBED

MESSAGES = [{"role": "user", "content": "Who sells bread?"}]


pytestmark = pytest.mark.usefixtures("litellm_connections")


@pytest.fixture
def route(server: Server):
    return {"model": f"openai/{NAME}", "api_base": server.openai, "api_key": server.key}


def test_a_chat_whole_and_streamed(route, model):
    expected = model.chat(MESSAGES, temperature=0, max_tokens=10)
    asked = {**route, "messages": MESSAGES, "temperature": 0, "max_tokens": 10}
    assert litellm.completion(**asked).choices[0].message.content == expected
    parts = litellm.completion(**asked, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected


def test_vectors(route, model):
    """It sends `encoding_format: null`."""
    found = litellm.embedding(**route, input=TEXTS)
    vectors = np.asarray([each["embedding"] for each in found.data], np.float32)
    np.testing.assert_array_equal(vectors, model.encode(TEXTS))


def test_errors(route):
    with pytest.raises(litellm.NotFoundError, match="gpt-9"):
        litellm.completion(**{**route, "model": "openai/gpt-9"}, messages=MESSAGES)
    with pytest.raises(litellm.BadRequestError, match=TOO_LONG_TO_EMBED):
        litellm.embedding(**route, input=[TOO_LONG])
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(**route, messages=[{"role": "user", "content": TOO_LONG}])
