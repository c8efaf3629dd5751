"""Long lists of wrong items in requests."""

import pytest
from pydantic import BaseModel, ValidationError

from gritlite.serve.cohere.embed import EmbedRequest
from gritlite.serve.cohere.rerank import RerankRequest
from gritlite.serve.ollama.requests import ChatRequest as OllamaChatRequest
from gritlite.serve.openai.chat_request import ChatRequest
from gritlite.serve.openai.completion_request import CompletionRequest
from gritlite.serve.openai.embeddings import EmbeddingRequest
from gritlite.serve.openai.response_request import ResponseRequest
from gritlite.serve.routes.tokens import TokenIds

WRONG = [{}, None, 0.5]


@pytest.mark.parametrize(
    ("request_type", "field"),
    [
        (ChatRequest, "messages"),
        (ChatRequest, "stop"),
        (CompletionRequest, "prompt"),
        (EmbeddingRequest, "input"),
        (EmbedRequest, "texts"),
        (OllamaChatRequest, "messages"),
        (RerankRequest, "documents"),
        (ResponseRequest, "input"),
        (TokenIds, "tokens"),
    ],
)
def test_the_first_wrong_item_is_the_only_error(request_type: type[BaseModel], field: str) -> None:
    """Telling of all would hold up every other request, and take gigabytes."""
    with pytest.raises(ValidationError) as raised:
        request_type.model_validate({field: [*WRONG, *WRONG] * 1000})
    wrong = [each for each in raised.value.errors() if each["loc"][0] == field]
    assert 1 <= len(wrong) < 10  # one for each type that the field may have


def test_it_is_told_with_its_place(client) -> None:
    answered = client.post("/v1/embeddings", {"input": [{}] * 50_000})
    assert answered.status == 400
    assert answered.error["param"].startswith("input")
