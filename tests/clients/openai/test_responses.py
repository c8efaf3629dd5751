"""`/v1/responses`, read by the official client."""

import json

import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

ASK = {"model": "tiny", "input": "hello", "temperature": 0, "max_output_tokens": 8}
EVENT = pydantic.TypeAdapter(ResponseStreamEvent)


class Verdict(pydantic.BaseModel):
    """What an answer says."""

    model_config = pydantic.ConfigDict(extra="forbid")
    right: bool


def strictly(model):
    """Check what the client only takes as it came: it does not compare types itself."""
    return type(model).model_validate(model.model_dump(by_alias=True), strict=False)


def test_an_answer(client):
    response = client.responses.create(**ASK)
    assert Response.model_validate(response.model_dump(by_alias=True)) == strictly(response)
    assert response.output_text
    assert response.status == "incomplete"
    assert response.usage.output_tokens == 8
    messages = [{"role": "user", "content": "hello"}]
    chat = client.chat.completions.create(
        model="tiny", messages=messages, temperature=0, max_tokens=8
    )
    assert response.output_text == chat.choices[0].message.content


def test_events_are_of_the_clients_types(client):
    whole = client.responses.create(**ASK).output_text
    events = list(client.responses.create(**ASK, stream=True))
    for event in events:
        EVENT.validate_python(event.model_dump(by_alias=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == whole
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole


def test_the_clients_own_stream_puts_events_together(client):
    given = "Say yes."
    options = {"model": "tiny", "temperature": 0, "text_format": Verdict}
    with client.responses.stream(input=given, **options) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert kinds[-1] == "response.completed"
    assert isinstance(response.output_parsed, Verdict)
    parsed = client.responses.parse(input=given, **options)
    assert parsed.output_parsed == response.output_parsed


def test_an_answer_goes_back_as_input(client):
    first = client.responses.create(**ASK)
    items = [{"role": "user", "content": "hello"}, *first.output, {"role": "user", "content": "on"}]
    second = client.responses.create(**{**ASK, "input": items})
    assert second.usage.input_tokens > first.usage.input_tokens


def test_log_probabilities(client):
    response = client.responses.create(
        **ASK, include=["message.output_text.logprobs"], top_logprobs=2
    )
    (part,) = response.output[0].content
    assert all(len(token.top_logprobs) == 2 for token in part.logprobs)
    assert part.logprobs


@pytest.mark.parametrize("field", [{"store": True}, {"previous_response_id": "resp_1"}])
def test_an_error(client, field):
    with pytest.raises(openai.BadRequestError, match="answers are not kept") as error:
        client.responses.create(**ASK, **field)
    assert error.value.param == next(iter(field))


WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    "strict": True,
}


def test_a_call_and_its_result(tool_client):
    options = {**ASK, "max_output_tokens": 300, "tools": [WEATHER], "tool_choice": "required"}
    response = tool_client.responses.create(**options)
    assert Response.model_validate(response.model_dump(by_alias=True)) == strictly(response)
    (call,) = response.output
    assert call.name == "weather"
    assert json.loads(call.arguments) == {}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
    items = [{"role": "user", "content": "hello"}, *response.output, result]
    after = tool_client.responses.create(**{**ASK, "input": items}, tools=[WEATHER])
    assert after.usage.input_tokens > response.usage.input_tokens


def test_events_of_a_call_are_of_the_clients_types(tool_client):
    options = {**ASK, "max_output_tokens": 300, "tools": [WEATHER], "tool_choice": "required"}
    events = list(tool_client.responses.create(**options, stream=True))
    for event in events:
        EVENT.validate_python(event.model_dump(by_alias=True))
    kinds = [event.type for event in events]
    assert "response.function_call_arguments.done" in kinds
    assert kinds[-1] == "response.completed"
    with tool_client.responses.stream(**options) as stream:
        for _ in stream:
            pass
        (call,) = stream.get_final_response().output
    assert call.name == "weather"
    assert call.arguments == "{}"


def test_other_tools_are_refused(tool_client):
    with pytest.raises(openai.BadRequestError, match="web_search") as error:
        tool_client.responses.create(**ASK, tools=[{"type": "web_search"}])
    assert error.value.param == "tools[0].type"
