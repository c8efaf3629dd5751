"""LangChain's embeddings: the numbers of `GritLM.encode`, behind the right prompts."""

import asyncio
import time

import numpy as np
import pytest
from langchain_core.vectorstores import InMemoryVectorStore

from gritlite import ClosedError, EmptyTextError, GritLM, InputTooLongError, instruction
from gritlite.integrations.langchain import GritLMEmbeddings
from gritlite.prompt import QUERY_INSTRUCTION

TEXTS = ["Leaves look green.", "The inn was founded in 1811."]


def test_documents_have_the_files_document_prompt(tiny_model):
    found = GritLMEmbeddings(tiny_model).embed_documents(TEXTS)
    assert np.array_equal(np.float32(found), tiny_model.encode(TEXTS))
    assert all(type(number) is float for number in found[0])
    assert GritLMEmbeddings(tiny_model).embed_documents([]) == []


def test_queries_have_the_instruction(tiny_model):
    found = GritLMEmbeddings(tiny_model).embed_query("when?")
    expected = tiny_model.encode("when?", instruction=instruction(QUERY_INSTRUCTION))
    assert np.array_equal(np.float32(found), expected)
    own = GritLMEmbeddings(tiny_model, query_instruction="Find a date").embed_query("when?")
    assert np.array_equal(
        np.float32(own), tiny_model.encode("when?", instruction=instruction("Find a date"))
    )
    none = GritLMEmbeddings(tiny_model, query_instruction="").embed_query("when?")
    assert np.array_equal(np.float32(none), tiny_model.encode("when?"))


def test_a_vector_store_uses_both(tiny_model):
    embeddings = GritLMEmbeddings(tiny_model)
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    ((_, score), *_) = store.similarity_search_with_score("when?", k=2)
    query = tiny_model.encode("when?", instruction=instruction(QUERY_INSTRUCTION))
    assert score == pytest.approx(max(tiny_model.encode(TEXTS) @ query), abs=1e-6)


def test_async_forms_give_the_same(tiny_model):
    embeddings = GritLMEmbeddings(tiny_model)

    async def both():
        return await asyncio.gather(
            embeddings.aembed_documents(TEXTS), embeddings.aembed_query("when?")
        )

    documents, query = asyncio.run(both())
    assert np.allclose(documents, embeddings.embed_documents(TEXTS), atol=1e-6)
    assert np.allclose(query, embeddings.embed_query("when?"), atol=1e-6)


def test_a_cancelled_task_ends_its_work(tiny_model):
    embeddings = GritLMEmbeddings(tiny_model)
    many = ["word " * 200] * 100_000  # minutes of work

    async def cancelled():
        task = asyncio.create_task(embeddings.aembed_documents(many))
        await asyncio.sleep(0.3)
        task.cancel()
        await task

    begin = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())  # waits for its threads
    assert time.monotonic() - begin < 30


def test_errors_pass_through(tiny_path):
    with GritLM(tiny_path, threads=1) as model:
        embeddings = GritLMEmbeddings(model)
        with pytest.raises(EmptyTextError, match="text 2"):
            embeddings.embed_documents(["a", ""])
        with pytest.raises(InputTooLongError, match="text 1"):
            embeddings.embed_documents(["word " * 2000])
    with pytest.raises(ClosedError):
        embeddings.embed_query("a")
