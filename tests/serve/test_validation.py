"""Fields of a wrong form are told in JSON's words, with their path."""

import json

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from gritlite.serve.app import ROUTERS
from gritlite.serve.errors import as_api_error
from gritlite.serve.ollama.requests import ChatRequest as OllamaChatRequest
from gritlite.serve.openai.chat_request import ChatRequest
from gritlite.serve.openai.embeddings import EmbeddingRequest
from gritlite.serve.openai.response_request import ResponseRequest
from gritlite.serve.stores.search import SearchRequest

REQUESTS = dict.fromkeys(
    route.body_field.field_info.annotation
    for router in ROUTERS
    for route in router.routes
    if getattr(route, "body_field", None)
)
SCALARS = [None, True, 5, -1, 1.5, float("nan"), float("inf"), 10**400, "", "x", "x" * 999]
ODD = [*SCALARS, [], {}, *([each] for each in SCALARS), [[]], [{}], [["x"]], [[{}]], {"A b": [5]}]
NAMES = ("type", "role", "content", "text", "function", "schema", "format", "name", "arguments")
NESTED = [dict.fromkeys(NAMES, odd) for odd in (5, [], {}, [5], "", {"name": 5})]
OF_PYTHON = (
    "Input should",
    "valid ",
    "dict",
    "instance",
    "list",
    "Field required",
    "parse",
    "None",
)


def told(request_type: type[BaseModel], body: object):
    """The error that a body is answered with; None where it is right."""
    try:
        request_type.model_validate(body)
    except ValidationError as error:
        problems = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        return as_api_error(RequestValidationError(problems, body=body))
    return None


@pytest.mark.parametrize(
    ("request_type", "body", "message"),
    [
        (ChatRequest, {}, "messages is missing"),
        (ChatRequest, {"messages": None}, "messages is null: expected an array"),
        (ChatRequest, {"messages": "hi"}, "messages is 'hi': expected an array"),
        (ChatRequest, {"messages": ["hi"]}, "messages[0] is 'hi': expected an object"),
        (
            ChatRequest,
            {"messages": [{"role": "user", "content": 5}]},
            "messages[0].content is 5: expected a string or an array",
        ),
        (
            ChatRequest,
            {"messages": [{"role": "user", "content": [{"type": []}]}]},
            "messages[0].content[0].type is an array: expected a string",
        ),
        (
            ChatRequest,
            {"messages": [], "tool_choice": {"function": {}}},
            "tool_choice.function.name is missing",
        ),
        (
            ChatRequest,
            {"messages": [], "tools": [{"function": {"name": ""}}]},
            "tools[0].function.name is '': expected 1 or more characters",
        ),
        (ChatRequest, {"messages": [], "top_k": -1}, "top_k is -1: expected at least 0"),
        (ChatRequest, {"messages": [], "top_p": 1.5}, "top_p is 1.5: expected at most 1"),
        (ChatRequest, {"messages": [], "n": 1.5}, "n is 1.5: expected an integer"),
        (ChatRequest, {"messages": [], "n": "many"}, "n is 'many': expected an integer"),
        (ChatRequest, {"messages": [], "stream": {}}, "stream is an object: expected a boolean"),
        (ChatRequest, {"messages": [], "top_p": True}, None),
        (ChatRequest, {"messages": [], "top_p": "much"}, "top_p is 'much': expected a number"),
        (EmbeddingRequest, {"input": 5}, "input is 5: expected a string or an array"),
        (EmbeddingRequest, {"input": ["a", None]}, "input[1] is null: expected a string"),
        (EmbeddingRequest, {"input": [["a"]]}, "input[0] is an array: expected a string"),
        (
            EmbeddingRequest,
            {"input": "a", "encoding_format": "hex"},
            "encoding_format is 'hex': expected 'float' or 'base64'",
        ),
        (
            EmbeddingRequest,
            {"input": "a", "dimensions": "x" * 999},
            "dimensions is a string of 999 characters: expected an integer",
        ),
        (OllamaChatRequest, {"think": []}, "think is an array: expected a boolean or a string"),
        (
            ResponseRequest,
            {"input": "", "metadata": {"A b": 5}},
            "metadata.A b is 5: expected a string",
        ),
        (SearchRequest, {"query": "x", "Where": {}}, "Where: there is no such field here"),
        (
            SearchRequest,
            {"query": "x", "min_score": float("nan")},
            "min_score is nan: expected a finite number",
        ),
    ],
)
def test_messages(request_type, body, message):
    error = told(request_type, body)
    assert message == (error and error.detail)
    if error is not None:
        assert message.startswith(error.param)


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda each: each.__name__)
def test_no_message_has_pydantics_words(request_type):
    """Whatever a field has in place of what it should have."""
    for field in request_type.model_fields:
        for odd in (*ODD, *NESTED, *([each] for each in NESTED)):
            error = told(request_type, {field: odd})
            if error is not None:
                assert not any(words in error.detail for words in OF_PYTHON), error.detail
                assert error.param
                assert len(error.detail) < 700


def test_it_is_the_answer_of_each_interface(client):
    problem = "input is 5: expected a string or an array"
    answered = client.post("/v1/embeddings", {"input": 5})
    assert answered.status == 400
    assert (answered.error["message"], answered.error["param"]) == (problem, "input")
    assert client.post("/api/embed", {"input": 5}).json == {"error": problem}
    answered = client.post("/v2/embed", {"texts": 5})
    assert answered.json == {"message": "texts is 5: expected an array"}
    body = json.dumps({"input": 5}).encode("utf-16")
    assert client.post("/v1/embeddings", body).status == 400
