"""`/v1/chat/completions` with a tiny random model."""

import json

import pytest

from gritlite import GritLM
from tests.serve.running import serving


def test_the_text_is_that_of_the_library(client, served_model):
    expected = served_model.chat(
        [{"role": "user", "content": "hello"}], temperature=0, max_tokens=12
    )
    answered = client.chat("hello", max_tokens=12)
    assert answered.status == 200
    (choice,) = answered.json["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected, "refusal": None}
    assert choice["finish_reason"] == "length"
    assert answered.json["model"] == "tiny"
    usage = answered.json["usage"]
    assert usage["completion_tokens"] == 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + 12
    tokens = served_model.chat_tokens([{"role": "user", "content": "hello"}])
    assert usage["prompt_tokens"] == len(tokens)


def test_cached_tokens_are_counted(client):
    client.chat("the same question", max_tokens=2)
    usage = client.chat("the same question", max_tokens=2).json["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1


def test_chunks_follow_the_schema(client):
    whole = client.chat("hello", max_tokens=12).json["choices"][0]["message"]["content"]
    answered = client.chat("hello", max_tokens=12, stream=True)
    assert answered.headers["content-type"].startswith("text/event-stream")
    *chunks, done = answered.events
    assert done == "[DONE]"
    first, *inner, last = chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks[:-1])
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["choices"][0]["delta"] == {}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in inner) == whole
    assert all("role" not in chunk["choices"][0]["delta"] for chunk in inner)
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_comes_last_if_it_was_asked_for(client):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, usage, done = client.chat("hello", max_tokens=3, **options).events
    assert done == "[DONE]"
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3


def test_options_reach_the_model(client, served_model):
    text = client.chat("hello", max_tokens=12).json["choices"][0]["message"]["content"]
    stopped = client.chat("hello", max_tokens=12, stop=[text[3:5]]).json["choices"][0]
    assert stopped["message"]["content"] == text[: text.index(text[3:5])]
    assert stopped["finish_reason"] == "stop"
    random = [
        client.chat("hello", max_completion_tokens=8, temperature=1.5, seed=seed).json["choices"]
        for seed in (-5, -5, 2**40)
    ]
    assert random[0] == random[1] != random[2]


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"enum": ["yes", "no"]}, "strict": True},
        },
    ],
)
def test_a_response_format(client, response_format):
    answered = client.chat("hello", response_format=response_format, max_tokens=200)
    (choice,) = answered.json["choices"]
    if response_format["type"] == "json_schema":
        assert json.loads(choice["message"]["content"]) in ("yes", "no")
    assert choice["message"]["content"].lstrip()[0] in '{"'


def test_a_schema_that_cannot_be_used(client):
    wanted = {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}
    assert client.chat("hello", response_format=wanted).status == 400


def test_parts_and_roles_of_messages(client):
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "go on"},
    ]
    body = {"messages": messages, "max_tokens": 3, "temperature": 0}
    assert client.post("/v1/chat/completions", body).status == 200


def test_the_context_is_the_limit_without_one(client, served_model):
    answered = client.chat("word " * 150, stop=None, max_tokens=5000)
    (choice,) = answered.json["choices"]
    usage = answered.json["usage"]
    assert usage["total_tokens"] <= served_model.context_length
    assert choice["finish_reason"] in ("length", "stop")


@pytest.mark.parametrize(
    "field", [{"n": 0}, {"n": 129}, {"top_logprobs": 2}, {"top_logprobs": 21, "logprobs": True}]
)
def test_wrong_numbers_are_refused(client, field):
    answered = client.chat("hello", **field)
    assert answered.status == 400
    assert answered.error["param"] == next(iter(field))


def test_several_answers(client):
    options = {"n": 3, "max_tokens": 6, "temperature": 1.5, "seed": 7}
    answered = client.chat("hello", **options).json
    assert [choice["index"] for choice in answered["choices"]] == [0, 1, 2]
    texts = [choice["message"]["content"] for choice in answered["choices"]]
    assert len(set(texts)) == 3
    assert answered["usage"]["completion_tokens"] == 18
    alone = client.chat("hello", **{**options, "n": 1, "seed": 8}).json  # the second one's seed
    assert alone["choices"][0]["message"]["content"] == texts[1]
    assert answered["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]


@pytest.mark.parametrize("parallel", [1, 2])
def test_several_answers_as_a_stream(served_model, parallel):
    options = {"n": 3, "max_tokens": 6, "temperature": 1.5, "seed": 7}
    with serving(served_model, parallel=parallel, queue=1) as client:
        whole = client.chat("hello", **options).json["choices"]
        stream = client.chat(
            "hello", stream=True, stream_options={"include_usage": True}, **options
        )
        *chunks, usage, done = stream.events
        client.until("answers_running", 0)
    assert done == "[DONE]"
    assert usage["usage"]["completion_tokens"] == 18
    for number in range(3):
        choices = [chunk["choices"][0] for chunk in chunks]
        first, *inner, last = [choice for choice in choices if choice["index"] == number]
        assert first["delta"] == {"role": "assistant", "content": ""}
        assert {choice["finish_reason"] for choice in (first, *inner)} == {None}
        assert last["finish_reason"] == "length"
        text = "".join(choice["delta"]["content"] for choice in inner)
        assert text == whole[number]["message"]["content"]


def test_log_probabilities(client, served_model):
    options = {"logprobs": True, "top_logprobs": 3, "max_tokens": 8}
    (choice,) = client.chat("hello", **options).json["choices"]
    told = choice["logprobs"]["content"]
    content = choice["message"]["content"]
    assert text_of(told) == content
    answer = served_model.chat(
        [{"role": "user", "content": "hello"}],
        stream=True,
        temperature=0,
        max_tokens=8,
        top_logprobs=3,
    )
    assert "".join(answer) == content
    for token, record in zip(told, answer.logprobs, strict=True):
        assert token["logprob"] == pytest.approx(record.log_probability, abs=1e-3)
        assert token["top_logprobs"][0]["token"] == token["token"]  # it is a greedy answer
        assert len(token["top_logprobs"]) == 3
    *chunks, _ = client.chat("hello", stream=True, **options).events
    pieces = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    streamed = [token for piece in pieces if piece for token in piece["content"]]
    assert [token["token"] for token in streamed] == [token["token"] for token in told]


def test_log_probabilities_end_where_the_text_does(client):
    whole = client.chat("hello", max_tokens=12).json["choices"][0]["message"]["content"]
    options = {"logprobs": True, "max_tokens": 12, "stop": whole[5:8]}
    (choice,) = client.chat("hello", **options).json["choices"]
    told, text = choice["logprobs"]["content"], choice["message"]["content"]
    assert text == whole[: whole.index(whole[5:8])]
    assert text_of(told).startswith(text)
    assert len(text_of(told[:-1])) < len(text)
    *chunks, _ = client.chat("hello", stream=True, **options).events
    parts = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [token for part in parts if part for token in part["content"]] == told


def text_of(tokens):
    """The text of tokens of `logprobs`."""
    return b"".join(bytes(token["bytes"]) for token in tokens).decode("utf-8", "replace")


def test_a_file_that_only_embeds(tmp_path, tiny_file):
    from gritlite.convert import convert
    from tests.tiny import make_checkpoint

    make_checkpoint(tmp_path / "checkpoint", "llama-head-dim")
    convert(tmp_path / "checkpoint", tmp_path / "m.gguf", "f32", for_embedding=True)
    with GritLM(tmp_path / "m.gguf", threads=1) as model, serving(model) as client:
        answered = client.chat("hello")
        assert answered.status == 400
        assert "embedding only" in answered.error["message"]
        assert str(tmp_path) not in answered.error["message"]
