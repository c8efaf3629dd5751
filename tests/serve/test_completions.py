"""`/v1/completions` with a tiny random model."""

import json

import pytest

PATH = "/v1/completions"


def complete(client, prompt="Once upon", **fields):
    return client.post(PATH, {"prompt": prompt, "temperature": 0, **fields})


def test_the_text_is_that_of_the_library(client, served_model):
    answered = complete(client, max_tokens=12).json
    (choice,) = answered["choices"]
    assert choice["text"] == served_model.generate("Once upon", temperature=0, max_tokens=12)
    assert choice["index"] == 0
    assert choice["finish_reason"] == "length"
    assert choice["logprobs"] is None
    assert answered["object"] == "text_completion"
    assert answered["usage"]["prompt_tokens"] == len(served_model.prompt_tokens("Once upon"))
    assert answered["usage"]["completion_tokens"] == 12


def test_sixteen_tokens_by_default(client):
    for fields in ({}, {"max_tokens": None}):
        assert complete(client, **fields).json["usage"]["completion_tokens"] == 16


def test_several_prompts_and_answers(client):
    prompts = ["Once upon", "The inn"]
    fields = {"n": 2, "temperature": 1.5, "seed": 3, "max_tokens": 5}
    answered = complete(client, prompts, **fields).json
    assert [choice["index"] for choice in answered["choices"]] == [0, 1, 2, 3]
    assert answered["usage"]["completion_tokens"] == 20
    alone = [complete(client, prompt, **fields).json for prompt in prompts]
    texts = [choice["text"] for each in alone for choice in each["choices"]]
    assert [choice["text"] for choice in answered["choices"]] == texts
    assert len(set(texts)) == 4
    counted = [each["usage"]["prompt_tokens"] for each in alone]
    assert answered["usage"]["prompt_tokens"] == sum(counted)


@pytest.mark.parametrize("echo", [None, True])
def test_a_stream(client, echo):
    prompts = ["Once upon", "The inn"]
    whole = complete(client, prompts, echo=echo).json["choices"]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, usage, done = complete(client, prompts, echo=echo, **options).events
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 32
    assert all(chunk["usage"] is None for chunk in chunks)
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    for number in range(2):
        *inner, last = [choice for choice in choices if choice["index"] == number]
        assert "".join(choice["text"] for choice in inner) == whole[number]["text"]
        assert {choice["finish_reason"] for choice in inner} == {None}
        assert (last["text"], last["finish_reason"]) == ("", "length")
    assert whole[1]["text"].startswith("The inn") == bool(echo)
    assert all("usage" not in chunk for chunk in complete(client, stream=True).events[:-1])


def test_an_echo(client):
    text = complete(client).json["choices"][0]["text"]
    assert complete(client, echo=True).json["choices"][0]["text"] == "Once upon" + text


@pytest.mark.parametrize("count", [0, 3])
def test_log_probabilities(client, served_model, count):
    (choice,) = complete(client, logprobs=count).json["choices"]
    told = choice["logprobs"]
    answer = served_model.generate(
        "Once upon", stream=True, temperature=0, max_tokens=16, top_logprobs=count
    )
    "".join(answer)
    expected = [record.log_probability for record in answer.logprobs]
    assert told["token_logprobs"] == pytest.approx(expected, abs=1e-3)
    assert told["text_offset"][0] == 0
    assert told["text_offset"] == sorted(told["text_offset"])
    for token, value, top in zip(
        told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True
    ):
        assert top[token] == value  # of a greedy answer
        assert 1 <= len(top) <= count + 1
    *chunks, _ = complete(client, logprobs=count, stream=True).events
    parts = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [token for part in parts if part for token in part["tokens"]] == told["tokens"]
    offsets = [offset for part in parts if part for offset in part["text_offset"]]
    assert offsets == told["text_offset"]


def test_a_schema_and_stops(client):
    wanted = {"type": "json_schema", "json_schema": {"schema": {"enum": ["yes", "no"]}}}
    answered = complete(client, response_format=wanted).json["choices"][0]
    assert json.loads(answered["text"]) in ("yes", "no")
    assert answered["finish_reason"] == "stop"
    text = complete(client).json["choices"][0]["text"]
    stopped = complete(client, stop=text[3:5]).json["choices"][0]
    assert stopped["text"] == text[: text.index(text[3:5])]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["x"] * 129}, "n"),
        ({"n": 0}, "n"),
        ({"best_of": 3}, "best_of"),
        ({"suffix": "the end"}, "suffix"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"logprobs": 21}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": "other"}, "model"),
    ],
)
def test_what_is_refused(client, fields, param):
    answered = complete(client, **{"prompt": "x", **fields})
    assert answered.status == (404 if param == "model" else 400)
    assert answered.error["param"] == param


def test_token_ids_are_named(client):
    assert complete(client, [1, 2]).error["code"] == "token_ids_not_supported"


def test_a_prompt_that_is_too_long(client):
    answered = complete(client, "word " * 2000)
    assert answered.status == 400
    assert answered.error["code"] == "context_length_exceeded"
    assert "1024 tokens, but the prompt has" in answered.error["message"]


def test_the_end_of_the_context_is_the_limit(client, served_model):
    answered = complete(client, "word " * 150, max_tokens=5000).json
    assert answered["usage"]["total_tokens"] <= served_model.context_length
