"""Chats and completions, read by the official client."""

import json

import openai
import pydantic
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 6}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": NOTHING, "strict": True},
}


class Verdict(pydantic.BaseModel):
    """What an answer says."""

    model_config = pydantic.ConfigDict(extra="forbid")
    right: bool


def check(model):
    """Check types, which the client does not."""
    type(model).model_validate(model.model_dump(by_alias=True))
    return model


def test_several_answers_with_log_probabilities(client):
    options = {"n": 2, "logprobs": True, "top_logprobs": 2, "temperature": 1.2, "seed": 1}
    whole = check(client.chat.completions.create(**CHAT, **options))
    assert isinstance(whole, ChatCompletion)
    texts = ["", ""]
    for chunk in client.chat.completions.create(**CHAT, **options, stream=True):
        assert isinstance(check(chunk), ChatCompletionChunk)
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]
    assert all(choice.logprobs.content for choice in whole.choices)


def test_the_clients_own_stream_puts_chunks_together(client):
    options = {"model": "tiny", "messages": CHAT["messages"], "n": 2, "seed": 1}
    whole = client.chat.completions.parse(**options, response_format=Verdict)
    options["stream_options"] = {"include_usage": True}
    with client.chat.completions.stream(**options, response_format=Verdict) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    for one, other in zip(final.choices, whole.choices, strict=True):
        assert one.message.content == other.message.content
        assert isinstance(one.message.parsed, Verdict)
    assert final.usage.completion_tokens == whole.usage.completion_tokens


def test_a_call(tool_client):
    options = {**CHAT, "max_tokens": 300, "tools": [TOOL], "tool_choice": "required", "seed": 1}
    (choice,) = check(tool_client.chat.completions.create(**options)).choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {}
    options["stream_options"] = {"include_usage": True}
    with tool_client.chat.completions.stream(**options) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    assert final.choices[0].message.tool_calls[0].function.arguments == "{}"
    result = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}
    messages = [*CHAT["messages"], choice.message, result]
    after = tool_client.chat.completions.create(**{**CHAT, "messages": messages}, tools=[TOOL])
    assert after.usage.prompt_tokens > final.usage.prompt_tokens


def test_a_call_of_the_old_form(tool_client):
    function = TOOL["function"]
    options = {**CHAT, "max_tokens": 300, "seed": 1, "function_call": {"name": "weather"}}
    options["functions"] = [{name: function[name] for name in ("name", "parameters")}]
    (choice,) = check(tool_client.chat.completions.create(**options)).choices
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call.name == "weather"
    deltas = [
        chunk.choices[0].delta.function_call
        for chunk in tool_client.chat.completions.create(**options, stream=True)
        if check(chunk).choices[0].delta.function_call
    ]
    assert [delta.name for delta in deltas] == ["weather"]
    result = {"role": "function", "name": "weather", "content": "21 degrees"}
    messages = [*CHAT["messages"], choice.message, result]
    after = tool_client.chat.completions.create(**{**CHAT, "seed": 1, "messages": messages})
    assert after.choices[0].message.content


def test_completions(client):
    options = {"model": "tiny", "prompt": ["Once", "The inn"], "temperature": 0, "logprobs": 2}
    whole = check(client.completions.create(**options))
    assert isinstance(whole, Completion)
    texts = ["", ""]
    for chunk in client.completions.create(**options, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]


def test_errors(client):
    with pytest.raises(openai.BadRequestError, match="no tools"):
        client.chat.completions.create(**CHAT, tools=[TOOL])
    with pytest.raises(openai.BadRequestError, match="token ids"):
        client.completions.create(model="tiny", prompt=[1, 2])
