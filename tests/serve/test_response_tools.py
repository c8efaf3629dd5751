"""Function tools in `/v1/responses`. tests/clients reads them with the official client."""

import json

import pytest

from tests.serve.running import serving
from tests.serve.test_tools import HERMES, Writes

PATH = "/v1/responses"
QUESTION = {"role": "user", "content": "How warm is it in Rome?"}
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "weather", "description": "Tells it.", "parameters": CITY}
TIME = {"type": "function", "name": "time"}
TWO = '<tool_call>{"name": "time"}</tool_call>\n<tool_call>{"name": "time"}</tool_call>'


def ask(client, given=(QUESTION,), **fields):
    body = {"input": list(given), "temperature": 0, "max_output_tokens": 80, **fields}
    return client.post(PATH, body)


def test_a_text_and_a_call(tool_model):
    with serving(Writes(tool_model, HERMES)) as client:
        answered = ask(client, tools=[WEATHER]).json
    message, call = answered["output"]
    assert message["content"][0]["text"] == "I look."
    assert message["status"] == call["status"] == answered["status"] == "completed"
    assert (call["type"], call["name"]) == ("function_call", "weather")
    assert json.loads(call["arguments"]) == {"city": "Rome"}
    assert call["id"] != call["call_id"]
    assert [tool["name"] for tool in answered["tools"]] == ["weather"]
    assert answered["tool_choice"] == "auto"


def test_events(tool_model):
    with serving(Writes(tool_model, HERMES)) as client:
        events = ask(client, tools=[WEATHER], stream=True).events
    kinds = [each["type"].removeprefix("response.") for each in events]
    deltas = kinds.count("output_text.delta")
    assert kinds == [
        "created",
        "in_progress",
        *("output_item.added", "content_part.added"),
        *["output_text.delta"] * deltas,
        *("output_text.done", "content_part.done", "output_item.done"),
        "output_item.added",
        *("function_call_arguments.delta", "function_call_arguments.done"),
        "output_item.done",
        "completed",
    ]
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    text = "".join(each["delta"] for each in events if each["type"].endswith("output_text.delta"))
    assert text == "I look."
    _, added, delta, done, item, completed = events[-6:]
    assert added["item"]["arguments"] == ""
    assert added["item"]["status"] == "in_progress"
    assert delta["delta"] == done["arguments"] == item["item"]["arguments"]
    assert {each["output_index"] for each in (added, delta, done, item)} == {1}
    assert {each["item_id"] for each in (delta, done)} == {item["item"]["id"]}
    assert completed["response"]["output"][1] == item["item"]
    assert completed["response"]["output"][0]["content"][0]["text"] == "I look."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("parallel", "count"), [(None, 2), (True, 2), (False, 1)])
def test_calls_without_a_text(tool_model, parallel, count, stream):
    with serving(Writes(tool_model, TWO)) as client:
        answered = ask(client, tools=[TIME], parallel_tool_calls=parallel, stream=stream)
    response = answered.events[-1]["response"] if stream else answered.json
    assert [item["type"] for item in response["output"]] == ["function_call"] * count
    assert len({item["call_id"] for item in response["output"]}) == count
    assert response["parallel_tool_calls"] is (parallel is not False)


@pytest.mark.parametrize("fields", [{}, {"tools": [WEATHER], "tool_choice": "none"}])
def test_without_tools_a_call_is_text(tool_model, fields):
    with serving(Writes(tool_model, HERMES)) as client:
        (message,) = ask(client, **fields).json["output"]
    assert message["content"][0]["text"] == HERMES


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("choice", "names"),
    [("required", {"weather", "time"}), ({"type": "function", "name": "time"}, {"time"})],
)
def test_a_call_that_is_required(tools, choice, names, stream):
    for seed in range(3):  # the model is random: it can only call because it must
        given = {"tools": [WEATHER, TIME], "tool_choice": choice, "stream": stream}
        answered = ask(tools, **given, temperature=1.5, seed=seed, max_output_tokens=600)
        response = answered.events[-1]["response"] if stream else answered.json
        (call,) = response["output"]
        assert call["name"] in names
        arguments = json.loads(call["arguments"])
        assert call["name"] == "time" or arguments["city"] in ("Oslo", "Rome")
        assert response["tool_choice"] == choice


def test_calls_and_their_results_go_back(tools, tool_model):
    """As the messages of a chat: calls belong to the answer's message."""
    call = {"type": "function_call", "name": "weather", "arguments": '{"city": "Rome"}'}
    result = {"type": "function_call_output"}
    items = [
        QUESTION,
        {"type": "message", "role": "assistant", "content": "I look."},
        {**call, "id": "fc_1", "call_id": "abc123def", "status": "completed"},
        {**call, "call_id": "abc123deg"},
        {**result, "call_id": "abc123def", "output": "21 degrees"},
        {**result, "call_id": "abc123deg", "output": [{"type": "input_text", "text": "warm"}]},
        {**call, "call_id": "abc123deh"},
        {**result, "call_id": "abc123deh", "output": ""},
    ]
    answered = ask(tools, items, tools=[WEATHER])
    assert answered.status == 200

    def called(*ids):
        function = {"name": "weather", "arguments": {"city": "Rome"}}
        return [{"id": each, "type": "function", "function": function} for each in ids]

    def told(each, text):
        return {"role": "tool", "tool_call_id": each, "content": text}

    calls = called("abc123def", "abc123deg")
    messages = [
        QUESTION,
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        told("abc123def", "21 degrees"),
        told("abc123deg", "warm"),
        {"role": "assistant", "content": "", "tool_calls": called("abc123deh")},
        told("abc123deh", ""),
    ]
    function = {name: WEATHER[name] for name in ("name", "description", "parameters")}
    tokens = tool_model.chat_tokens(messages, [{"type": "function", "function": function}])
    assert answered.json["usage"]["input_tokens"] == len(tokens)


def test_a_model_without_tools(client):
    for stream in (False, True):
        answered = ask(client, tools=[TIME], stream=stream)
        assert answered.status == 400
        assert "chat template has no tools" in answered.error["message"]


def test_a_schema_and_a_required_call(tools):
    text = {"format": {"type": "json_object"}}
    answered = ask(tools, tools=[TIME], tool_choice="required", text=text)
    assert answered.status == 400
    assert answered.error["param"] == "text.format"
