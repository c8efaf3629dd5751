"""The openai package, version 3."""

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import openai
import pytest
from pydantic import BaseModel

from tests.clients.running_server import NAME, Server, gritlite_serve
from tests.clients.server.conftest import TEXTS

MESSAGES = [{"role": "user", "content": "Who sells bread?"}]
GREEDY = {"model": NAME, "messages": MESSAGES, "temperature": 0, "max_tokens": 12}


@pytest.fixture
def client(server: Server):
    with openai.OpenAI(base_url=server.openai, api_key=server.key) as made:
        yield made


def test_vectors_are_those_of_encode_bit_for_bit(client, model):
    expected = np.concatenate([model.encode([text]) for text in TEXTS])
    for text, vector in zip(TEXTS, expected, strict=True):
        for encoding in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            found = client.embeddings.create(model=NAME, input=text, **encoding).data[0].embedding
            if isinstance(found, str):  # base64 that was asked for is not decoded
                found = np.frombuffer(base64.b64decode(found), "<f4")
            np.testing.assert_array_equal(np.asarray(found, np.float32), vector)


def test_many_texts_come_in_order(client, model):
    found = client.embeddings.create(model=NAME, input=TEXTS)
    assert [each.index for each in found.data] == [0, 1, 2]
    vectors = np.asarray([each.embedding for each in found.data], np.float32)
    np.testing.assert_array_equal(vectors, model.encode(TEXTS))
    assert found.usage.prompt_tokens == sum(len(model.embed_tokens(text)[0]) for text in TEXTS)


def test_queries_by_the_models_name(client, model):
    found = client.embeddings.create(model=f"{NAME}:query", input=TEXTS[0]).data[0].embedding
    document = client.embeddings.create(model=NAME, input=TEXTS[0]).data[0].embedding
    assert np.dot(found, document) < 0.9999
    explicit = client.embeddings.create(
        model=NAME, input=TEXTS[0], extra_body={"input_type": "search_query"}
    )
    assert explicit.data[0].embedding == found


def test_a_chat_whole_and_streamed(client, model):
    whole = client.chat.completions.create(**GREEDY)
    expected = model.chat(MESSAGES, temperature=0, max_tokens=12)
    assert whole.choices[0].message.content == expected
    assert whole.choices[0].finish_reason in ("length", "stop")
    chunks = list(client.chat.completions.create(**GREEDY, stream=True))
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == expected
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [each.choices[0].finish_reason for each in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert all(each.usage is None for each in chunks)


def test_the_usage_of_a_stream(client):
    with_usage = {"include_usage": True}
    chunks = list(client.chat.completions.create(**GREEDY, stream=True, stream_options=with_usage))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens <= 12
    assert chunks[-1].usage.total_tokens > chunks[-1].usage.completion_tokens


def test_a_stream_that_is_closed_early(client):
    with client.chat.completions.create(**{**GREEDY, "max_tokens": 500}, stream=True) as stream:
        next(iter(stream))
    assert client.chat.completions.create(**GREEDY).choices


class Person(BaseModel):
    trade: Literal["baker", "smith"]  # numbers of a random model have no end
    sells: bool


def test_parsed_answers(client):
    found = client.chat.completions.parse(**{**GREEDY, "max_tokens": 60}, response_format=Person)
    assert isinstance(found.choices[0].message.parsed, Person)


def test_log_probabilities_and_several_answers(client):
    found = client.chat.completions.create(**GREEDY, n=2, logprobs=True, top_logprobs=3)
    assert [each.index for each in found.choices] == [0, 1]
    for entry in found.choices[0].logprobs.content:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob)


def test_the_async_client(server, model):
    async def ask():
        async with openai.AsyncOpenAI(base_url=server.openai, api_key=server.key) as client:
            stream = await client.chat.completions.create(**GREEDY, stream=True)
            text = "".join([part.choices[0].delta.content or "" async for part in stream])
            vectors = await asyncio.gather(
                *(client.embeddings.create(model=NAME, input=text) for text in TEXTS)
            )
            return text, [each.data[0].embedding for each in vectors]

    text, vectors = asyncio.run(ask())
    assert text == model.chat(MESSAGES, temperature=0, max_tokens=12)
    cosines = (np.asarray(vectors) * model.encode(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.999  # merged requests share a pass


def test_the_models(client):
    assert {each.id for each in client.models.list()} == {NAME, f"{NAME}:query"}
    assert client.models.retrieve(NAME).owned_by == "gritlite"


def test_errors_are_openais(client, server):
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.chat.completions.create(**{**GREEDY, "model": "gpt-9"})
    long = [{"role": "user", "content": "bread " * 5000}]
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**{**GREEDY, "messages": long})
    assert raised.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(**{**GREEDY, "temperature": -1})
    with (
        openai.OpenAI(base_url=server.openai, api_key="wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_a_refused_client_comes_back_by_itself(tiny_path):
    """Its retries wait as long as Retry-After says."""
    with (
        gritlite_serve(tiny_path, "--parallel", "1", "--queue", "0") as small,
        openai.OpenAI(base_url=small.openai, api_key=small.key, max_retries=10) as client,
    ):
        with client.chat.completions.create(**{**GREEDY, "max_tokens": 300}, stream=True) as busy:
            next(iter(busy))
            with pytest.raises(openai.RateLimitError) as refused:
                client.with_options(max_retries=0).chat.completions.create(**GREEDY)
            assert int(refused.value.response.headers["retry-after"]) >= 1
            assert client.chat.completions.create(**GREEDY).choices[0].message.content
        assert json.loads(refused.value.response.text)["error"]["code"] == "rate_limit_exceeded"


def test_a_burst_of_200_is_served(tiny_path):
    """Those who find the queue full are told when to come back, and then find room."""
    with (
        gritlite_serve(tiny_path, "--parallel", "2", "--queue", "40") as small,
        openai.OpenAI(base_url=small.openai, api_key=small.key) as client,
        ThreadPoolExecutor(200) as pool,
    ):
        short = {**GREEDY, "max_tokens": 2}
        answers = list(pool.map(lambda _: client.chat.completions.create(**short), range(200)))
        assert len({answer.choices[0].message.content for answer in answers}) == 1
