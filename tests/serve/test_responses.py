"""`/v1/responses` with a tiny random model. tests/clients reads it with the official client."""

import json

import pytest

from tests.serve.running import serving
from tests.serve.test_leaving import SlowAnswers, slow  # noqa: F401 - a fixture

PATH = "/v1/responses"


def respond(client, given="hello", **fields):
    return client.post(PATH, {"input": given, "temperature": 0, **fields})


def text_of(response):
    (message,) = response["output"]
    (part,) = message["content"]
    return part["text"]


def test_the_text_is_that_of_the_library(client, served_model):
    answered = respond(client, max_output_tokens=12).json
    messages = [{"role": "user", "content": "hello"}]
    assert text_of(answered) == served_model.chat(messages, temperature=0, max_tokens=12)
    assert answered["status"] == "incomplete"
    assert answered["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answered["output"][0]["status"] == "incomplete"
    usage = answered["usage"]
    assert usage["input_tokens"] == len(served_model.chat_tokens(messages))
    assert usage["output_tokens"] == 12
    assert usage["total_tokens"] == usage["input_tokens"] + 12
    assert answered["store"] is False


def test_items_and_instructions_are_the_messages_of_a_chat(client):
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Good day.", "annotations": []}],
        },
        {"role": "user", "content": "go on"},
    ]
    answered = respond(client, items, instructions="Be brief.", max_output_tokens=8).json
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "go on"},
    ]
    body = {"messages": messages, "temperature": 0, "max_tokens": 8}
    chat = client.post("/v1/chat/completions", body).json
    assert text_of(answered) == chat["choices"][0]["message"]["content"]
    assert answered["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]
    assert answered["instructions"] == "Be brief."


def test_a_schema(client):
    wanted = {"type": "json_schema", "name": "n", "schema": {"enum": ["yes", "no"]}, "strict": True}
    answered = respond(client, text={"format": wanted}).json
    assert json.loads(text_of(answered)) in ("yes", "no")
    assert answered["status"] == "completed"
    assert answered["incomplete_details"] is None
    assert answered["text"]["format"] == wanted


@pytest.mark.parametrize("include", [[], ["message.output_text.logprobs"]])
def test_events(client, include):
    whole = respond(client, max_output_tokens=6).json
    fields = {"stream": True, "max_output_tokens": 6, "include": include, "metadata": {"a": "b"}}
    events = respond(client, **fields).events
    kinds = [each["type"] for each in events]
    deltas = kinds.count("response.output_text.delta")
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    pieces = [each for each in events if each["type"] == "response.output_text.delta"]
    assert "".join(each["delta"] for each in pieces) == text_of(whole)
    assert text_of(events[-1]["response"]) == text_of(whole)
    assert events[-4]["text"] == text_of(whole)
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["usage"] is None
    assert events[-1]["response"]["usage"]["output_tokens"] == 6
    assert events[-1]["response"]["metadata"] == {"a": "b"}
    assert len({each["response"]["id"] for each in events if "response" in each}) == 1
    told = [token for each in pieces for token in each["logprobs"]]
    shown = b"".join(bytes(token["bytes"]) for token in told).decode("utf-8", "replace")
    assert shown == (text_of(whole) if include else "")
    assert events[-4]["logprobs"] == told


def test_a_failure_after_the_first_event(slow):  # noqa: F811
    with serving(slow) as client:
        with client.leaving(PATH, {"input": "x", "stream": True}) as connection:
            received = b""
            while b"response.in_progress" not in received:
                received += connection.recv(4096)
            client.until("answers_running", 1)
            slow.answers[0].cancel()
            while b"event: error" not in received or not received.endswith(b"\r\n\r\n"):
                received += connection.recv(4096)
        last = received.decode().split("data: ")[-1].split("\n")[0]
    told = json.loads(last)
    assert told["type"] == "error"
    assert told["error"]["message"] == told["message"]
    assert told["sequence_number"] == 2
    assert isinstance(slow, SlowAnswers)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "name": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"input": [{"type": "function_call", "name": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "x"}]}, "input[0].name"),
        (
            {"input": [{"type": "function_call", "call_id": "a", "name": "x", "arguments": "["}]},
            "input[0].arguments",
        ),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": "word " * 2000}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
        ),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {"not": {}}}}}, "text.format"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_what_is_refused(client, fields, param):
    for stream in (False, True):
        answered = respond(client, **{"given": "x", "stream": stream, **renamed(fields)})
        assert answered.status == 400
        assert answered.error["param"] == param


def renamed(fields):
    return {"given" if name == "input" else name: value for name, value in fields.items()}


def test_null_is_the_default(client):
    names = ("instructions", "max_output_tokens", "text", "include", "store", "tools", "metadata")
    assert (
        respond(client, **dict.fromkeys(names), seed=None, previous_response_id=None).status == 200
    )


def test_a_context_that_is_full(client):
    assert respond(client, "word " * 2000).error["code"] == "context_length_exceeded"
