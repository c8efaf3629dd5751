"""Fields of OpenAI's interface beyond those that make an answer: harmless, or refused by name."""

import pytest

from tests.runtime.test_tools import load
from tests.serve.running import serving

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
NAMES = (
    "{% for message in messages %}{{ message.name or 'nobody' }}: {{ message.content }}\n"
    "{% endfor %}"
)
HARMLESS = {
    "store": True,
    "metadata": {"a": "b"},
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "service_tier": "flex",
    "prediction": {"type": "content", "content": "x"},
    "modalities": ["text"],
    "reasoning_effort": "none",
    "verbosity": "medium",
}


def test_harmless_fields_change_nothing(client):
    plain = client.chat("hello", max_tokens=8)
    for fields in (HARMLESS, dict.fromkeys(HARMLESS), {"modalities": []}):
        answered = client.chat("hello", max_tokens=8, **fields)
        assert answered.status == 200
        assert answered.json["choices"] == plain.json["choices"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "alloy", "format": "wav"}},
        {"web_search_options": {}},
        {"moderation": {"model": "omni-moderation"}},
        {"reasoning_effort": "low"},
        {"verbosity": "high"},
        {"where": {"author": "Smith"}},
    ],
    ids=str,
)
def test_a_chat_refuses_by_name(client, fields, stream):
    answered = client.chat("hello", stream=stream, **fields)
    assert answered.status == 400
    (name,) = fields
    assert answered.error["param"] == name
    assert answered.error["code"] == "unsupported"
    assert answered.error["message"].startswith(f"{name} is not supported: ")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"moderation": {"model": "omni-moderation"}}, "moderation"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
    ],
    ids=str,
)
def test_a_response_refuses_by_name(client, fields, param):
    answered = client.post(RESPONSES, {"input": "hello", **fields})
    assert answered.status == 400
    assert answered.error["param"] == param


def test_a_response_takes_what_asks_for_nothing(client):
    nothing = {"reasoning": {"effort": None, "summary": "auto"}, "text": {"verbosity": "medium"}}
    nothing |= {"truncation": "auto", "max_tool_calls": 3, "include": ["file_search_call.results"]}
    body = {"input": "hello", "max_output_tokens": 4, **nothing}
    assert client.post(RESPONSES, body).status == 200


def test_names_are_for_templates_that_show_them(tmp_path):
    with load(tmp_path, NAMES) as model, serving(model) as client:

        def tokens(**fields):
            messages = [{"role": "user", "content": "hello", **fields}]
            body = {"messages": messages, "max_tokens": 1}
            return client.post(CHAT, body).json["usage"]["prompt_tokens"]

        assert tokens(name="Ada") == len(model.prompt_tokens("Ada: hello\n"))
        assert tokens() == tokens(name=None) == len(model.prompt_tokens("nobody: hello\n"))


def test_a_refusal_is_an_answers_text(client):
    def tokens(**fields):
        messages = [{"role": "user", "content": "hello"}, {"role": "assistant", **fields}]
        body = {"messages": [*messages, {"role": "user", "content": "on"}], "max_tokens": 1}
        return client.post(CHAT, body).json["usage"]["prompt_tokens"]

    assert tokens(refusal="I will not say that.") == tokens(content="I will not say that.")
