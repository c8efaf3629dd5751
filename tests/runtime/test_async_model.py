"""A model in an event loop: results, the loop's time meanwhile, cancelled tasks, closing."""

import asyncio
import threading
import time

import numpy as np
import pytest

from gritlite import AsyncGritLM, ClosedError, GritLM, UsageError
from gritlite.runtime import async_model

PROMPT = "some words and more " * 45
GREEDY = {"temperature": 0, "max_tokens": 8}
MESSAGES = [{"role": "user", "content": "hello"}]


def with_model(path, use):
    """Run a coroutine function of a model in an event loop; return its result."""

    async def main():
        async with await AsyncGritLM.load(path, threads=1) as model:
            return await use(model)

    return asyncio.run(main())


async def until(event):
    """Wait for an event of another thread, while the loop goes on."""
    end = time.monotonic() + 60
    while not event.is_set():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_results_are_those_of_the_model(tiny_path, tiny_model):
    async def use(model):
        pieces = [piece async for piece in model.chat(MESSAGES, **GREEDY)]
        return (
            await model.encode(["a", "b"], instruction="x"),
            await model.encode_queries("a"),
            await model.encode_corpus([{"title": "a", "text": "b"}]),
            await model.chat(MESSAGES, **GREEDY),
            "".join(pieces),
            await model.generate("Once", **GREEDY),
            await model.generate("x", document=await model.prefix_state("Once"), **GREEDY),
            (await model.document_state("Once")).ids,
            await model.run(lambda inner, cancel: (inner.dimension, cancel.is_set())),
        )

    found = with_model(tiny_path, use)
    state = tiny_model.prefix_state("Once")
    chat = tiny_model.chat(MESSAGES, **GREEDY)
    np.testing.assert_array_equal(found[0], tiny_model.encode(["a", "b"], instruction="x"))
    np.testing.assert_array_equal(found[1], tiny_model.encode("a"))
    np.testing.assert_array_equal(found[2], tiny_model.encode(["a b"]))
    assert found[3:] == (
        chat,
        chat,
        tiny_model.generate("Once", **GREEDY),
        tiny_model.generate("x", document=state, **GREEDY),
        tiny_model.document_state("Once").ids,
        (tiny_model.dimension, False),
    )


def test_an_answer_tells_how_it_ended(tiny_path):
    async def use(model):
        answer = model.generate("Once", **GREEDY)
        assert (answer.text, answer.finish_reason, answer.answer) == ("", None, None)
        text = await answer
        assert (answer.text, answer.finish_reason) == (text, "length")
        assert len(answer.answer.generated) == 8

    with_model(tiny_path, use)


def test_the_loop_goes_on_while_a_pass_runs_and_cancelling_ends_it(tiny_path, endless_pass):
    async def use(model):
        task = asyncio.create_task(model.encode("a"))
        await until(endless_pass)
        for _ in range(100):  # the pass would run for ever
            await asyncio.sleep(0)
        assert not task.done()
        await cancelled(task)
        return await model.encode("a")

    assert with_model(tiny_path, use).any()


@pytest.mark.parametrize("read", ["whole", "pieces"])
def test_cancelling_a_task_ends_its_prompt(tiny_path, tiny_model, endless_pass, read):
    async def pieces(answer):
        return "".join([piece async for piece in answer])

    async def whole(answer):
        return await answer

    async def use(model):
        answer = model.generate(PROMPT, **GREEDY)
        task = asyncio.create_task({"whole": whole, "pieces": pieces}[read](answer))
        await until(endless_pass)
        await cancelled(task)
        while answer.finish_reason is None:
            await asyncio.sleep(0.005)
        assert (answer.text, answer.finish_reason) == ("", "cancelled")
        return await model.generate(PROMPT, **GREEDY)

    assert with_model(tiny_path, use) == tiny_model.generate(PROMPT, **GREEDY)


def test_cancelling_a_task_between_tokens(tiny_path):
    async def use(model):
        answer, begun = model.generate("Once", temperature=0, max_tokens=900), asyncio.Event()

        async def read():
            async for _ in answer:
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        await cancelled(task)
        while answer.finish_reason is None:
            await asyncio.sleep(0.005)
        said = len(answer.answer.generated)
        await asyncio.sleep(0.05)
        assert len(answer.answer.generated) == said < 900
        return answer.finish_reason

    assert with_model(tiny_path, use) == "cancelled"


def test_cancelling_a_task_whose_piece_has_just_come(tiny_path):
    async def use(model):
        answer = model.generate("Once", temperature=0, max_tokens=900)
        task = asyncio.create_task(anext(answer))
        await asyncio.sleep(0)  # so that it begins
        end = time.monotonic() + 60
        while not answer.text:  # the loop waits, so the task does not hear of it
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.1)
        await cancelled(task)
        while answer.finish_reason is None:
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        return answer.finish_reason

    assert with_model(tiny_path, use) == "cancelled"


def test_a_timeout_ends_the_work(tiny_path, endless_pass):
    async def use(model):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await model.encode("a")
        return await model.encode("a")

    assert with_model(tiny_path, use).any()


def test_an_answer_that_is_cancelled_keeps_its_text(tiny_path):
    async def use(model):
        async with model.generate("Once", temperature=0, max_tokens=900) as answer:
            async for _ in answer:
                if len(answer.answer.generated) > 4:
                    answer.cancel()
        return answer.finish_reason, bool(answer.text)

    assert with_model(tiny_path, use) == ("cancelled", True)


def test_cancelling_a_task_ends_its_load(tiny_path, endless_load):
    async def main():
        task = asyncio.create_task(AsyncGritLM.load(tiny_path, threads=1))
        await until(endless_load)
        await cancelled(task)

    asyncio.run(main())


def test_a_model_that_comes_after_its_task_is_closed(tiny_path, monkeypatch):
    begun, go, made = threading.Event(), threading.Event(), []

    class Late(GritLM):
        def __init__(self, *arguments, **options):
            begun.set()
            assert go.wait(60)
            super().__init__(*arguments, **{**options, "cancel": None})
            made.append(self)

    monkeypatch.setattr(async_model, "GritLM", Late)

    async def main():
        task = asyncio.create_task(AsyncGritLM.load(tiny_path, threads=1))
        await until(begun)
        await cancelled(task)
        go.set()
        while not made or not made[0].is_closed:
            await asyncio.sleep(0.005)

    asyncio.run(main())


def test_progress_comes_in_the_loop(tiny_path):
    threads, seen = set(), {"load": [], "encode": [], "chat": []}

    def progress(name):
        def report(*step):
            threads.add(threading.get_ident())
            seen[name].append(step)

        return report

    async def main():
        model = await AsyncGritLM.load(tiny_path, threads=1, progress=progress("load"))
        async with model:
            await model.encode(["word " * 90] * 20, progress=progress("encode"))
            await model.generate(PROMPT, **GREEDY, progress=progress("chat"))

    asyncio.run(main())
    assert threads == {threading.get_ident()}
    assert seen["load"][-1] == (1000, 1000)
    assert seen["encode"][-1] == (20, 20)
    assert seen["chat"][0][0] == 512


@pytest.mark.parametrize("work", ["load", "encode", "whole", "prefix"])
def test_an_error_of_the_callback_ends_the_work(tiny_path, work):
    def progress(done, total):
        raise ZeroDivisionError("the app's")

    async def main():
        if work == "load":
            await AsyncGritLM.load(tiny_path, threads=1, progress=progress)
        async with await AsyncGritLM.load(tiny_path, threads=1) as model:
            if work == "encode":
                await model.encode(["word " * 90] * 50, progress=progress)
            if work == "whole":
                await model.generate(PROMPT, temperature=0, max_tokens=300, progress=progress)
            await model.prefix_state(PROMPT, progress=progress)

    with pytest.raises(ZeroDivisionError, match="the app's"):
        asyncio.run(main())


def test_errors_are_those_of_the_model(tiny_path):
    async def use(model):
        with pytest.raises(UsageError, match="temprature"):
            await model.chat(MESSAGES, temprature=1)
        with pytest.raises(UsageError):
            async for _ in model.generate("", temperature=-1):
                pass

    with_model(tiny_path, use)
    with pytest.raises(Exception, match="does not exist"):
        asyncio.run(AsyncGritLM.load("nowhere.gguf"))


def test_closing_ends_work_in_progress(tiny_path, endless_pass):
    async def main():
        model = await AsyncGritLM.load(tiny_path, threads=1)
        task = asyncio.create_task(model.encode("a"))
        await until(endless_pass)
        await model.close()
        with pytest.raises(ClosedError):
            await task
        with pytest.raises(ClosedError):
            await model.encode("a")
        with pytest.raises(ClosedError):
            await model.chat(MESSAGES)

    asyncio.run(main())


def test_many_tasks_at_once(tiny_path, tiny_model):
    async def use(model):
        return await asyncio.gather(
            *(model.generate(f"Once {n}", **GREEDY) for n in range(5)),
            model.encode("a"),
        )

    *texts, vector = with_model(tiny_path, use)
    assert texts == [tiny_model.generate(f"Once {n}", **GREEDY) for n in range(5)]
    assert vector.shape == (tiny_model.dimension,)
