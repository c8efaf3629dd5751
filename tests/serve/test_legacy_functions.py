"""`functions` and `function_call`: tools in OpenAI's first form."""

import json

import pytest

from tests.runtime.test_tools import QUESTION, WEATHER
from tests.serve.running import serving
from tests.serve.test_tools import HERMES, Writes, ask

FUNCTION = WEATHER["function"]
TIME = {"name": "time"}


def test_a_call(tool_model):
    with serving(Writes(tool_model, HERMES)) as client:
        (choice,) = ask(client, functions=[FUNCTION]).json["choices"]
    assert choice["finish_reason"] == "function_call"
    message = choice["message"]
    assert set(message) == {"role", "content", "refusal", "function_call"}
    assert message["content"] == "I look."
    assert message["function_call"]["name"] == "weather"
    assert json.loads(message["function_call"]["arguments"]) == {"city": "Rome"}


def test_a_call_in_a_stream(tool_model):
    with serving(Writes(tool_model, HERMES)) as client:
        *chunks, done = ask(client, functions=[FUNCTION], stream=True).events
    assert done == "[DONE]"
    choices = [chunk["choices"][0] for chunk in chunks]
    (called,) = [
        each["delta"]["function_call"] for each in choices if "function_call" in each["delta"]
    ]
    assert called["name"] == "weather"
    assert json.loads(called["arguments"]) == {"city": "Rome"}
    assert choices[-1]["finish_reason"] == "function_call"
    assert not any("tool_calls" in each["delta"] for each in choices)


def test_none_and_a_certain_function(tools):
    for seed in range(3):  # the model is random: it can only call because it must
        given = {"functions": [FUNCTION, TIME], "function_call": {"name": "time"}, "seed": seed}
        (choice,) = ask(tools, **given, temperature=1.5, max_tokens=300).json["choices"]
        assert choice["message"]["function_call"]["name"] == "time"
        assert choice["message"]["content"] is None
    shown, hidden = (
        ask(tools, functions=[FUNCTION], function_call=choice).json["usage"]["prompt_tokens"]
        for choice in ("auto", "none")
    )
    assert hidden == ask(tools).json["usage"]["prompt_tokens"] < shown


def test_a_result_goes_back(tools, tool_model):
    called = {"name": "weather", "arguments": '{"city": "Rome"}'}
    messages = [
        QUESTION,
        {"role": "assistant", "content": None, "function_call": called},
        {"role": "function", "name": "weather", "content": "21 degrees"},
    ]
    answered = ask(tools, messages=messages, functions=[FUNCTION])
    function = {"name": "weather", "arguments": {"city": "Rome"}}
    call = {"id": "call00001", "type": "function", "function": function}
    result = {"role": "tool", "tool_call_id": "call00001", "name": "weather"}
    rendered = [
        QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {**result, "content": "21 degrees"},
    ]
    tokens = tool_model.chat_tokens(rendered, [WEATHER])
    assert answered.json["usage"]["prompt_tokens"] == len(tokens)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [FUNCTION], "tools": [WEATHER]}, "functions"),
        ({"functions": [FUNCTION], "tool_choice": "auto"}, "functions"),
        ({"functions": [FUNCTION], "function_call": "required"}, "function_call"),
        ({"functions": [FUNCTION], "function_call": {"name": "time"}}, "function_call"),
        ({"function_call": {"name": "time"}}, "function_call"),
        ({"functions": [{}]}, "functions[0].name"),
        (
            {"messages": [{"role": "assistant", "function_call": {"name": "x", "arguments": "["}}]},
            "messages[0].function_call.arguments",
        ),
    ],
    ids=str,
)
def test_what_is_refused(tools, fields, param):
    answered = ask(tools, **fields)
    assert answered.status == 400
    assert answered.error["param"] == param


def test_nothing_to_call_is_an_ordinary_chat(client):
    answered = client.chat("x", functions=[], function_call="auto", max_tokens=2)
    assert answered.json["choices"][0]["finish_reason"] == "length"


def test_a_model_without_tools(client):
    answered = client.chat("x", functions=[FUNCTION])
    assert answered.status == 400
    assert "chat template has no tools" in answered.error["message"]
