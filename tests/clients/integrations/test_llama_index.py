"""LlamaIndex's embedding and LLM: the numbers of `encode` and the answers of `chat`."""

import asyncio

import numpy as np
import pytest
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.prompts import PromptTemplate

from gritlite import (
    ClosedError,
    EmptyTextError,
    GritLM,
    InputTooLongError,
    TruncationWarning,
    UsageError,
    instruction,
)
from gritlite.integrations.llama_index import GritLMEmbedding, GritLMLLM
from gritlite.prompt import QUERY_INSTRUCTION
from tests.clients.integrations.conftest import LONG

TEXTS = ["Leaves look green.", "The inn was founded in 1811."]
MESSAGES = [
    ChatMessage(role=MessageRole.SYSTEM, content="Be brief."),
    ChatMessage(role=MessageRole.USER, content="Hello"),
    ChatMessage(role=MessageRole.ASSISTANT, content="Hi"),
    ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="What"), TextBlock(text="now?")]),
]
SAME = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "What\nnow?"},
]


@pytest.fixture
def llm(tiny_model):
    return GritLMLLM(model=tiny_model, temperature=0, max_tokens=12)


def test_texts_and_queries_have_their_prompts(tiny_model):
    embedding = GritLMEmbedding(model=tiny_model)
    texts = embedding.get_text_embedding_batch(TEXTS)
    assert np.array_equal(np.float32(texts), tiny_model.encode(TEXTS))
    one = np.float32(embedding.get_text_embedding(TEXTS[0]))
    assert np.array_equal(one, tiny_model.encode(TEXTS[0]))
    query = np.float32(embedding.get_query_embedding("when?"))
    prompt = instruction(QUERY_INSTRUCTION)
    assert np.array_equal(query, tiny_model.encode("when?", instruction=prompt))
    own = GritLMEmbedding(model=tiny_model, query_instruction="Find a date")
    expected = tiny_model.encode("when?", instruction=instruction("Find a date"))
    assert np.array_equal(np.float32(own.get_query_embedding("when?")), expected)


def test_async_embeddings_are_the_same(tiny_model):
    embedding = GritLMEmbedding(model=tiny_model)

    async def embed():
        return (
            await embedding.aget_text_embedding_batch(TEXTS),
            await embedding.aget_query_embedding("when?"),
            await embedding.aget_text_embedding(TEXTS[0]),
        )

    texts, query, one = asyncio.run(embed())
    assert np.array_equal(np.float32(texts), tiny_model.encode(TEXTS))
    assert query == embedding.get_query_embedding("when?")
    assert one == embedding.get_text_embedding(TEXTS[0])


def test_an_index_uses_both(tiny_model):
    embedding = GritLMEmbedding(model=tiny_model)
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in TEXTS], embed_model=embedding
    )
    (best,) = index.as_retriever(similarity_top_k=1).retrieve("when?")
    query = tiny_model.encode("when?", instruction=instruction(QUERY_INSTRUCTION))
    scores = tiny_model.encode(TEXTS) @ query
    assert best.text == TEXTS[int(scores.argmax())]
    assert best.score == pytest.approx(max(scores), abs=1e-6)


def test_a_pipelines_cache_tells_models_and_instructions_apart(tiny_path, tiny_file):
    nodes = [Document(text="a")]
    hashes = {
        get_transformation_hash(nodes, GritLMEmbedding(model=path, query_instruction=words))
        for path in (tiny_path, tiny_file("qwen2"))
        for words in ("", "Find a date")
    }
    assert len(hashes) == 4


def test_chat_gives_the_models_answer(llm, tiny_model):
    answer = tiny_model.chat(SAME, temperature=0, max_tokens=12, stream=True)
    text = "".join(answer)
    found = llm.chat(MESSAGES)
    assert (found.message.role, found.message.content) == (MessageRole.ASSISTANT, text)
    assert found.raw["finish_reason"] == answer.finish_reason
    assert found.raw["usage"]["prompt_tokens"] == len(tiny_model.chat_tokens(SAME))
    assert found.raw["usage"]["completion_tokens"] == len(answer.generated)
    streamed = list(llm.stream_chat(MESSAGES))
    assert "".join(response.delta for response in streamed) == text
    assert [response.message.content for response in streamed][-1] == text
    assert streamed[-1].raw == found.raw
    assert streamed[0].raw["finish_reason"] is None


def test_complete_asks_or_continues(llm, tiny_model):
    asked = tiny_model.chat([{"role": "user", "content": "One"}], temperature=0, max_tokens=12)
    continued = tiny_model.generate("One", temperature=0, max_tokens=12)
    assert asked != continued
    assert llm.complete("One").text == asked
    assert llm.complete("One", formatted=True).text == continued
    streamed = list(llm.stream_complete("One"))
    assert "".join(response.delta for response in streamed) == streamed[-1].text == asked
    assert llm.predict(PromptTemplate("{number}"), number="One") == asked


def test_async_answers_are_the_same(llm):
    async def ask():
        chunks = [chunk async for chunk in await llm.astream_chat(MESSAGES)]
        pieces = [chunk async for chunk in await llm.astream_complete("One")]
        return await llm.achat(MESSAGES), await llm.acomplete("One"), chunks, pieces

    chat, completion, chunks, pieces = asyncio.run(ask())
    assert chat.message.content == llm.chat(MESSAGES).message.content == chunks[-1].message.content
    assert completion.text == llm.complete("One").text == pieces[-1].text
    assert "".join(chunk.delta for chunk in chunks) == chat.message.content


def test_options_of_the_model_and_of_a_call(tiny_model):
    llm = GritLMLLM(model=tiny_model, temperature=1.5, seed=7, max_tokens=16, top_k=0)
    text = tiny_model.chat(SAME, temperature=1.5, seed=7, max_tokens=16, top_k=0)
    assert llm.chat(MESSAGES).message.content == text
    assert llm.chat(MESSAGES, seed=8).message.content != text
    assert text.startswith(llm.chat(MESSAGES, stop=[text[5:8]]).message.content)
    assert text[5:8] not in llm.chat(MESSAGES, stop=[text[5:8]]).message.content
    assert llm.chat(MESSAGES, json_schema={"enum": ["green"]}).message.content == '"green"'
    with pytest.raises(UsageError, match="no option 'top_tokens'"):
        llm.chat(MESSAGES, top_tokens=1)


def test_metadata_tells_what_the_model_can(llm, tiny_model):
    found = llm.metadata
    assert found.context_window == tiny_model.context_length == 1024
    assert (found.num_output, found.is_chat_model) == (12, True)
    assert not found.is_function_calling_model
    assert found.model_name == str(tiny_model.path)


def test_a_query_engine_answers_and_counts_tokens(tiny_model, monkeypatch):
    counter = TokenCountingHandler(tokenizer=tiny_model.tokenize)
    llm = GritLMLLM(model=tiny_model, temperature=0, max_tokens=8)
    monkeypatch.setattr(Settings, "_callback_manager", CallbackManager([counter]))
    monkeypatch.setattr(Settings, "_tokenizer", tiny_model.tokenize)
    embedding = GritLMEmbedding(model=tiny_model)
    index = VectorStoreIndex.from_documents([Document(text=TEXTS[1])], embed_model=embedding)
    response = index.as_query_engine(llm=llm).query("When?")
    assert response.source_nodes[0].text == TEXTS[1]
    assert 0 < counter.completion_llm_token_count <= 8
    assert counter.prompt_llm_token_count > len(tiny_model.tokenize(TEXTS[1]))


def test_closing_a_stream_ends_the_answer(tiny_model, answers):
    stream = GritLMLLM(model=tiny_model).stream_chat(MESSAGES, grammar=LONG)
    next(stream)
    stream.close()
    assert answers[0].finish_reason == "cancelled"
    assert len(answers[0].generated) < 50


@pytest.mark.parametrize("way", ["achat", "astream_chat", "acomplete", "astream_complete"])
def test_a_cancelled_task_ends_the_answer(tiny_model, answers, way):
    llm = GritLMLLM(model=tiny_model)
    asked = "Hello" if "complete" in way else MESSAGES

    async def read():
        found = await getattr(llm, way)(asked, grammar=LONG)
        if "stream" in way:
            async for _ in found:
                pass

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


def test_what_is_not_text(llm):
    picture = ChatMessage(role=MessageRole.USER, blocks=[ImageBlock(url="http://a/b.png")])
    with pytest.raises(UsageError, match="message 1 has a block of the type image"):
        llm.chat([picture])
    with pytest.raises(UsageError, match="message 2 has the role tool"):
        llm.chat([MESSAGES[1], ChatMessage(role=MessageRole.TOOL, content="a")])


def test_dropped_messages_are_told(llm):
    messages = [ChatMessage(role=MessageRole.USER, content="word " * 150) for _ in range(6)]
    for ask in (llm.chat, lambda messages: list(llm.stream_chat(messages))):
        with pytest.warns(TruncationWarning, match="left out"):
            ask(messages)


def test_errors_pass_through(tiny_path):
    with GritLM(tiny_path, threads=1) as model:
        llm, embedding = GritLMLLM(model=model), GritLMEmbedding(model=model)
        with pytest.raises(InputTooLongError):
            llm.complete("word " * 2000)
        with pytest.raises(EmptyTextError, match="text 2"):
            embedding.get_text_embedding_batch(["a", ""])
    with pytest.raises(ClosedError):
        llm.complete("Hello")
    with pytest.raises(ClosedError):
        embedding.get_query_embedding("Hello")
