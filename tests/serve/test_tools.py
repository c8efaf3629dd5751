"""`tools` in `/v1/chat/completions`: a template that shows them, and answers that call."""

import json

import pytest

from tests.runtime.test_tools import QUESTION, WEATHER
from tests.serve.running import serving

CHAT = "/v1/chat/completions"
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TIME = {"type": "function", "function": {"name": "time"}}
SCHEMA_WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
HERMES = 'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


class Writes:
    """A model whose answers have a given text; the rest is that of a real one."""

    def __init__(self, model, text):
        self._model, self._text = model, text

    def __getattr__(self, name):
        return getattr(self._model, name)

    def chat(self, messages, **options):
        return WrittenAnswer(self._model.chat(messages, **options), self._text)

    def close(self):
        pass


class WrittenAnswer:
    """Gives a text in pieces of five characters."""

    finish_reason, cached_tokens, logprobs = "stop", 0, ()

    def __init__(self, answer, text):
        self._answer, self._left, self.text = answer, text, ""
        self.prompt_tokens, self.generated = answer.prompt_tokens, [1]
        self.cancel, self.close = answer.cancel, answer.close

    def __iter__(self):
        return self

    def __next__(self):
        if not self._left:
            raise StopIteration
        piece, self._left = self._left[:5], self._left[5:]
        self.text += piece
        return piece


def ask(client, **fields):
    return client.post(CHAT, {"messages": [QUESTION], "temperature": 0, "max_tokens": 80, **fields})


def test_a_call(tool_model):
    with serving(Writes(tool_model, HERMES)) as client:
        (choice,) = ask(client, tools=[WEATHER]).json["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "I look."
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}


def test_a_call_in_a_stream(tool_model):
    with serving(Writes(tool_model, HERMES)) as client:
        *chunks, done = ask(client, tools=[WEATHER], stream=True).events
    assert done == "[DONE]"
    choices = [chunk["choices"][0] for chunk in chunks]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == "I look."
    (called,) = [
        choice["delta"]["tool_calls"] for choice in choices if "tool_calls" in choice["delta"]
    ]
    assert called[0]["index"] == 0
    assert called[0]["function"]["name"] == "weather"
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == [
        "tool_calls"
    ]
    assert choices[-1]["delta"] == {}


@pytest.mark.parametrize("fields", [{}, {"tools": [WEATHER], "tool_choice": "none"}, {"tools": []}])
def test_without_tools_a_call_is_text(tool_model, fields):
    with serving(Writes(tool_model, HERMES)) as client:
        (choice,) = ask(client, **fields).json["choices"]
    assert choice["message"] == {"role": "assistant", "content": HERMES, "refusal": None}
    assert choice["finish_reason"] == "stop"


def test_the_tools_are_in_the_prompt(tools, tool_model):
    without = ask(tools, max_tokens=1).json["usage"]["prompt_tokens"]
    for choice, more in ((None, True), ("auto", True), ("none", False)):
        answered = ask(tools, tools=[WEATHER], tool_choice=choice, max_tokens=1)
        assert (answered.json["usage"]["prompt_tokens"] > without) == more
    assert without == len(tool_model.chat_tokens([QUESTION]))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", {"weather", "time"}),
        ({"type": "function", "function": {"name": "weather"}}, {"weather"}),
        ({"type": "function", "function": {"name": "time"}}, {"time"}),
    ],
)
def test_a_call_that_is_required(tools, choice, names, stream):
    given = {"tools": [SCHEMA_WEATHER, TIME], "tool_choice": choice, "stream": stream}
    for seed in range(3):  # the model is random: it can only call because it must
        answered = ask(tools, **given, temperature=1.5, seed=seed, max_tokens=600)
        if stream:
            choices = [chunk["choices"][0] for chunk in answered.events[:-1]]
            assert choices[-1]["finish_reason"] == "tool_calls"
            (calls,) = [
                each["delta"]["tool_calls"] for each in choices if each["delta"].get("tool_calls")
            ]
        else:
            calls = answered.json["choices"][0]["message"]["tool_calls"]
            assert answered.json["choices"][0]["message"]["content"] is None
        (call,) = calls
        assert call["function"]["name"] in names
        arguments = json.loads(call["function"]["arguments"])
        assert call["function"]["name"] == "time" or arguments["city"] in ("Oslo", "Rome")


def test_definitions_of_a_schema_are_found(tools):
    parameters = {
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/City"}},
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"City": {"enum": ["Oslo"]}},
    }
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    answered = ask(tools, tools=[tool], tool_choice="required", max_tokens=300)
    (call,) = answered.json["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"])["city"] == "Oslo"


def test_a_result_goes_back(tools, tool_model):
    call = {"id": "abc123def", "type": "function"}
    function = {"name": "weather", "arguments": '{"city": "Rome"}'}
    messages = [
        QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [{**call, "function": function}]},
        {"role": "tool", "tool_call_id": "abc123def", "content": "21 degrees"},
    ]
    answered = ask(tools, messages=messages, tools=[WEATHER])
    assert answered.status == 200
    rendered = [
        QUESTION,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {**call, "function": {"name": "weather", "arguments": {"city": "Rome"}}}
            ],
        },
        {"role": "tool", "tool_call_id": "abc123def", "content": "21 degrees"},
    ]
    shown = {"description": "", "parameters": {}, **WEATHER["function"]}
    tokens = tool_model.chat_tokens(rendered, [{"type": "function", "function": shown}])
    assert answered.json["usage"]["prompt_tokens"] == len(tokens)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search", "function": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{}]}, "tools[0].function"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"function": {"name": "time"}}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {
                "tools": [{"function": {"name": "x", "parameters": {"$defs": [1]}}}],
                "tool_choice": "required",
            },
            "tools",
        ),
        (
            {
                "tools": [WEATHER],
                "tool_choice": "required",
                "response_format": {"type": "json_object"},
            },
            "response_format",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"function": {"name": "x", "arguments": "["}}],
                    }
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_wrong_tools(tools, fields, param):
    answered = ask(tools, **fields)
    assert answered.status == 400
    assert answered.error["param"] == param


def test_a_model_without_tools(client):
    answered = ask(client, tools=[WEATHER])
    assert answered.status == 400
    assert "chat template has no tools" in answered.error["message"]


def test_halves_of_characters_are_no_failure(tools):
    half = {"function": {"name": "a\ud800", "description": "\ud800", "parameters": {"\ud800": 1}}}
    for choice in ("auto", "required"):
        assert ask(tools, tools=[half], tool_choice=choice, max_tokens=2).status in (200, 400)
    call = {"id": "\ud800", "function": {"name": "\ud800", "arguments": '{"x": "\ud800"}'}}
    messages = [QUESTION, {"role": "assistant", "tool_calls": [call]}]
    assert ask(tools, messages=messages, max_tokens=2).status in (200, 400)
