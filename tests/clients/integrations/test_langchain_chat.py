"""LangChain's chat model: the answers of `GritLM.chat`, in LangChain's shapes."""

import asyncio
import json
from typing import Literal, TypedDict

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from gritlite import ClosedError, GritLM, InputTooLongError, TruncationWarning, UsageError
from gritlite.integrations.langchain import ChatGritLM
from tests.clients.integrations.conftest import LONG

MESSAGES = [
    SystemMessage("Be brief."),
    HumanMessage("Hello"),
    AIMessage("Hi"),
    HumanMessage(["What ", {"type": "text", "text": "is green?"}]),
]
SAME = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "What is green?"},
]


def counts(message):
    """The tokens of a message's usage, without how many of them were cached."""
    return {**message.usage_metadata, "input_token_details": None}


@pytest.fixture
def chat(tiny_model):
    return ChatGritLM(model=tiny_model, temperature=0, max_tokens=24)


def test_invoke_gives_the_models_answer(chat, tiny_model):
    answer = tiny_model.chat(SAME, temperature=0, max_tokens=24, stream=True)
    text = "".join(answer)
    found = chat.invoke(MESSAGES)
    assert found.content == text
    prompt = len(tiny_model.chat_tokens(SAME))
    assert found.usage_metadata == {
        "input_tokens": prompt,
        "output_tokens": len(answer.generated),
        "total_tokens": prompt + len(answer.generated),
        "input_token_details": {"cache_read": prompt - 1},  # the last is evaluated always
    }
    assert found.response_metadata["finish_reason"] == answer.finish_reason == "stop"
    cut = chat.invoke(MESSAGES, max_tokens=2)
    assert cut.response_metadata["finish_reason"] == "length"
    assert cut.usage_metadata["output_tokens"] == 2
    assert found.response_metadata["model_name"] == str(tiny_model.path)
    other = [ChatMessage(role=each["role"], content=each["content"]) for each in SAME]
    assert chat.invoke(other).content == text


def test_a_stream_is_the_same_in_pieces(chat):
    whole = chat.invoke(MESSAGES)
    chunks = list(chat.stream(MESSAGES))
    assert len(chunks) > 3
    assert "".join(chunk.content for chunk in chunks) == whole.content
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
    assert counts(chunks[-1]) == counts(whole)
    assert chunks[-1].response_metadata == whole.response_metadata
    assert all(chunk.usage_metadata is None for chunk in chunks[:-1])


def test_async_forms_give_the_same(chat):
    whole = chat.invoke(MESSAGES)

    async def ask():
        one, two = await chat.abatch([MESSAGES, MESSAGES])
        return one, two, [chunk async for chunk in chat.astream(MESSAGES)]

    one, two, chunks = asyncio.run(ask())
    assert one.content == two.content == whole.content
    assert "".join(chunk.content for chunk in chunks) == whole.content
    assert counts(chunks[-1]) == counts(one) == counts(whole)


def test_options_of_the_model_and_of_a_call(tiny_model):
    chat = ChatGritLM(model=tiny_model, temperature=1.5, seed=7, max_tokens=16, top_k=0)
    text = tiny_model.chat(SAME, temperature=1.5, seed=7, max_tokens=16, top_k=0)
    assert chat.invoke(MESSAGES).content == text
    assert chat.invoke(MESSAGES, seed=8).content != text
    stop = text[5:8]
    assert stop not in (ended := chat.invoke(MESSAGES, stop=[stop]).content)
    assert text.startswith(ended)
    assert chat.bind(stop=[stop]).invoke(MESSAGES).content == ended
    of_the_model = ChatGritLM(
        model=tiny_model, temperature=1.5, seed=7, max_tokens=16, top_k=0, stop=[stop]
    )
    found = of_the_model.invoke(MESSAGES)
    assert found.content == ended
    assert found.response_metadata["finish_reason"] == "stop"
    with pytest.raises(UsageError, match="no option 'top_tokens'"):
        chat.invoke(MESSAGES, top_tokens=1)
    with pytest.raises(UsageError, match="temperature is -1"):
        ChatGritLM(model=tiny_model, temperature=-1).invoke(MESSAGES)


def test_a_chain(chat, tiny_model):
    chain = ChatPromptTemplate.from_messages([("human", "Say {word}")]) | chat | StrOutputParser()
    same = [{"role": "user", "content": "Say yes"}]
    assert chain.invoke({"word": "yes"}) == tiny_model.chat(same, temperature=0, max_tokens=24)


def test_a_cache_tells_options_apart(tiny_model, answers):
    cache = InMemoryCache()
    for tokens in (3, 3, 4):
        chat = ChatGritLM(model=tiny_model, temperature=0, max_tokens=tokens, cache=cache)
        chat.invoke(MESSAGES)
    assert [len(answer.generated) for answer in answers] == [3, 4]


def test_closing_a_stream_ends_the_answer(tiny_model, answers):
    stream = ChatGritLM(model=tiny_model).stream(MESSAGES, grammar=LONG)
    next(stream)
    stream.close()
    assert answers[0].finish_reason == "cancelled"
    assert len(answers[0].generated) < 50


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_task_ends_the_answer(tiny_model, answers, streamed):
    chat = ChatGritLM(model=tiny_model)

    async def read():
        if not streamed:
            return await chat.ainvoke(MESSAGES, grammar=LONG)
        return [chunk async for chunk in chat.astream(MESSAGES, grammar=LONG)]

    async def leave():
        task = asyncio.create_task(read())
        while not (answers and answers[0].generated):
            await asyncio.sleep(0.001)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave())
    assert answers[0].finish_reason == "cancelled"
    assert len(answers[0].tokens) < tiny_model.context_length


class Leaf(BaseModel):
    """A leaf."""

    colour: Literal["green", "red"]
    dry: bool


class LeafMapping(TypedDict):
    """A leaf."""

    colour: Literal["green", "red"]
    dry: bool


@pytest.mark.parametrize("schema", [Leaf, LeafMapping, Leaf.model_json_schema()])
def test_structured_output_is_valid_whatever_the_model(tiny_model, schema):
    chat = ChatGritLM(model=tiny_model, temperature=0)
    found = chat.with_structured_output(schema).invoke("A leaf, please.")
    usual = chat.with_structured_output(schema, method="function_calling", strict=True)
    assert usual.invoke("A leaf, please.") == found
    assert isinstance(found, Leaf if schema is Leaf else dict)
    assert Leaf.model_validate(found if schema is not Leaf else found.model_dump())
    raw = chat.with_structured_output(schema, include_raw=True).invoke("A leaf, please.")
    assert raw["parsed"] == found
    assert json.loads(raw["raw"].content)["colour"] in ("green", "red")
    assert raw["parsing_error"] is None


def test_structured_output_that_was_cut(tiny_model):
    chat = ChatGritLM(model=tiny_model, temperature=0, max_tokens=2)
    raw = chat.with_structured_output(Leaf, include_raw=True).invoke("A leaf, please.")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], OutputParserException)
    with pytest.raises(OutputParserException):
        chat.with_structured_output(Leaf).invoke("A leaf, please.")


def test_what_is_not_there(chat):
    with pytest.raises(UsageError, match="calls no tools"):
        chat.bind_tools([Leaf])
    with pytest.raises(UsageError, match="no option 'tools'"):
        chat.with_structured_output(Leaf, tools=[])
    with pytest.raises(UsageError, match="message 2 is of the type tool"):
        chat.invoke([HumanMessage("a"), ToolMessage("b", tool_call_id="1")])
    call = {"name": "f", "args": {}, "id": "1"}
    with pytest.raises(UsageError, match="message 2 calls tools"):
        chat.invoke([HumanMessage("a"), AIMessage("", tool_calls=[call])])
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(UsageError, match="message 1 has a part of the type image"):
        chat.invoke([HumanMessage(["What is this?", picture])])


def test_tokens_are_counted_by_the_model(chat, tiny_model):
    assert chat.get_num_tokens_from_messages(MESSAGES) == len(tiny_model.chat_tokens(SAME))
    assert chat.get_token_ids("green leaves") == tiny_model.tokenize("green leaves")
    room = len(tiny_model.chat_tokens(SAME)) - 1
    trimmed = trim_messages(
        MESSAGES, max_tokens=room, token_counter=chat, start_on="human", include_system=True
    )
    assert trimmed == [MESSAGES[0], MESSAGES[3]]


def test_dropped_messages_are_told(tiny_model):
    chat = ChatGritLM(model=tiny_model, temperature=0, max_tokens=2)
    messages = [HumanMessage("word " * 150) for _ in range(6)]
    for ask in (chat.invoke, lambda messages: list(chat.stream(messages))):
        with pytest.warns(TruncationWarning, match="left out"):
            ask(messages)


def test_errors_pass_through(tiny_path):
    with GritLM(tiny_path, threads=1) as model:
        chat = ChatGritLM(model=model, temperature=0)
        with pytest.raises(InputTooLongError):
            chat.invoke("word " * 2000)
        with pytest.raises(InputTooLongError):
            asyncio.run(chat.ainvoke("word " * 2000))
    with pytest.raises(ClosedError):
        chat.invoke("Hello")


def test_traces_name_the_model(chat, tiny_model):
    found = chat._get_ls_params()
    assert (found["ls_provider"], found["ls_model_name"]) == ("gritlite", str(tiny_model.path))
    assert (found["ls_temperature"], found["ls_max_tokens"]) == (0, 24)
