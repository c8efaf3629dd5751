"""Every field that the official client knows is used, refused by name, or harmless and documented.

A field that a new version of the client brings fails here until someone has decided.
"""

import typing
from pathlib import Path

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

import gritlite
from gritlite.serve.openai.chat_request import ChatRequest
from gritlite.serve.openai.completion_request import CompletionRequest
from gritlite.serve.openai.embeddings import EmbeddingRequest
from gritlite.serve.openai.response_request import ResponseRequest

HARMLESS = {"user", "safety_identifier", "service_tier", "store", "metadata", "prediction"} | {
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
}
# of responses: about images, built-in tools, the background, and what does not fit the context
RESPONSES = HARMLESS | {
    "access_programs",
    "background_options",
    "context_management",
    "image",
    "max_tool_calls",
    "stream_options",
    "truncation",
}


@pytest.mark.parametrize(
    ("known", "request_model", "harmless"),
    [
        (chat_create_params.CompletionCreateParamsBase, ChatRequest, HARMLESS),
        (completion_create_params.CompletionCreateParamsBase, CompletionRequest, {"user"}),
        (response_create_params.ResponseCreateParamsBase, ResponseRequest, RESPONSES),
        (embedding_create_params.EmbeddingCreateParams, EmbeddingRequest, {"user"}),
    ],
)
def test_no_field_is_ignored_in_silence(known, request_model, harmless):
    fields = set(typing.get_type_hints(known))
    assert fields - set(request_model.model_fields) - harmless == set()
    page = Path(gritlite.__file__).parents[1] / "docs" / "serve.md"
    text = page.read_text("utf-8")
    assert [name for name in harmless & fields if f"`{name}`" not in text] == []
