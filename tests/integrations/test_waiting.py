"""Work in threads ends when its task is cancelled."""

import asyncio
import threading

import pytest

from gritlite import UsageError
from gritlite.integrations.waiting import awaited, pieces


def test_the_result_and_the_error_of_work():
    assert asyncio.run(awaited(lambda cancel: cancel.is_set())) is False

    def fail(_):
        raise UsageError("wrong")

    with pytest.raises(UsageError, match="wrong"):
        asyncio.run(awaited(fail))


def test_a_cancelled_task_sets_the_event():
    begun, ended = threading.Event(), threading.Event()

    def work(cancel):
        begun.set()
        assert cancel.wait(60)
        ended.set()

    async def cancelled():
        task = asyncio.create_task(awaited(work))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert ended.wait(60)


def test_pieces_are_the_answers(tiny_model):
    chat = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 8}

    async def read():
        return [piece async for piece in pieces(tiny_model.chat(**chat, stream=True))]

    assert "".join(asyncio.run(read())) == tiny_model.chat(**chat)


def test_a_reader_that_leaves_ends_the_answer(tiny_model):
    answer = tiny_model.generate("Once", stream=True, grammar='root ::= [a-z ]+ "END"')

    async def read():
        stream = pieces(answer)
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(read())
    assert answer.finish_reason == "cancelled"
    assert len(answer.generated) < 50


def test_the_loop_goes_on_meanwhile(tiny_model):
    async def read():
        turns = 0
        stream = pieces(tiny_model.generate("Once", stream=True, max_tokens=20, temperature=0))
        task = asyncio.create_task(anext(stream))
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        await stream.aclose()
        return turns

    assert asyncio.run(read()) > 1
