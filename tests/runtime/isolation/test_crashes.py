"""The model's process is killed: calls raise, and the next one works with another process."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from gritlite import IsolatedGritLM, ModelProcessError, OutOfMemoryError, Store
from gritlite.rag import verify

KILLED = r"the model's process ended \(signal 9, SIGKILL: .*\): the next call starts another"
MESSAGES = [{"role": "user", "content": "word " * 40}]
SAMPLED = {"temperature": 1.0, "seed": 7, "max_tokens": 40}
TEXTS = [f"{number} " + "word " * 30 for number in range(20)]
RANDOM = random.Random(11)


@contextmanager
def killed_within(model, seconds):
    """Kill the model's process at a random moment."""
    model.tokenize("a")  # it may be the first call after the last process ended
    number = model.process_id
    timer = threading.Timer(RANDOM.random() * seconds, os.kill, (number, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        while model.process_id == number:
            time.sleep(0.01)


def seconds_of(work):
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def test_encode_raises_or_returns_all_and_works_afterwards(isolated):
    expected, seconds = seconds_of(lambda: isolated.encode(TEXTS))
    raised = 0
    while raised < 7:
        try:
            with killed_within(isolated, seconds):
                assert np.array_equal(isolated.encode(TEXTS), expected)
        except ModelProcessError:
            raised += 1
        assert np.array_equal(isolated.encode(TEXTS[:3]), expected[:3])
    assert np.array_equal(isolated.encode(TEXTS), expected)


def test_an_answer_raises_or_ends_and_keeps_its_text(isolated):
    def streamed():
        isolated.clear_cache()  # a prompt that is there already is rounded in another way
        return isolated.chat(MESSAGES, stream=True, **SAMPLED)

    text, seconds = seconds_of(lambda: "".join(streamed()))
    raised = 0
    while raised < 7:
        answer = None
        try:
            with killed_within(isolated, seconds):
                answer = streamed()
                assert "".join(answer) == text
        except ModelProcessError:
            raised += 1
        if answer is not None and answer.finish_reason is None:
            assert text.startswith(answer.text)
            with pytest.raises(ModelProcessError, match=KILLED):
                next(answer)
            answer.close()
        assert isolated.chat(MESSAGES, temperature=0, max_tokens=2) is not None
    assert "".join(streamed()) == text


def test_indexing_raises_or_ends_and_goes_on_in_a_store_that_is_whole(isolated, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"Note {number}.\n\n" + "The inn is old. " * 20)

    def opened(name):
        return Store.open(tmp_path / name, isolated, states="f16", chunk_tokens=64)

    def found(store):
        return [(each.source, each.score) for each in store.search("Note 3.", 9)]

    with opened("whole.grit") as store:
        _, seconds = seconds_of(lambda: store.add(folder))
        expected = found(store)
    raised = 0
    while raised < 6:
        name = f"killed-{raised}.grit"
        try:
            with opened(name) as store, killed_within(isolated, seconds):
                store.add(folder)
            (tmp_path / name).unlink()
            continue  # it was killed too late
        except ModelProcessError:
            raised += 1
        assert verify(tmp_path / name) == []
        with opened(name) as store:
            store.add(folder)
            assert store.plan().pending.chunks == 0
            assert found(store) == expected
        assert verify(tmp_path / name) == []


def test_a_store_answers_and_ranks_as_with_a_model_here(isolated, tiny_model, tmp_path):
    (tmp_path / "note.txt").write_text("The inn is old. " * 40)
    found = []
    for number, model in enumerate((isolated, tiny_model)):
        with Store.open(
            tmp_path / f"{number}.grit", model, states="q8_0", chunk_tokens=64
        ) as store:
            store.add(tmp_path / "note.txt")
            layouts = ("document-then-query", "exact", "doc-query", "auto")
            answers = [store.ask("Who?", layout=each, max_tokens=6) for each in layouts]
            ranked = store.search("The inn", 2, rerank=4)
            found.append(
                (
                    [(each.text, each.layout, each.states_loaded) for each in answers],
                    [(each.text, each.score) for each in ranked],
                    store.state_usage(),
                )
            )
    assert found[0] == found[1]


def test_all_calls_that_wait_are_told(isolated):
    answer = isolated.generate("a", stream=True, temperature=1.0, seed=1)
    stream = isolated.encode_stream(TEXTS)
    next(answer), next(stream)
    raised = []

    def wait():
        with pytest.raises(ModelProcessError, match=KILLED) as caught:
            isolated.encode(TEXTS * 100)
        raised.append(caught.value)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    os.kill(isolated.process_id, signal.SIGKILL)
    for thread in threads:
        thread.join(10)
    assert len(raised) == 3
    for waiting in (answer, stream):
        with pytest.raises(ModelProcessError, match=KILLED):
            next(waiting)
    answer.cancel()
    answer.close()
    assert answer.finish_reason == "cancelled"


def test_a_process_that_dies_between_calls_is_replaced_without_an_error(isolated):
    expected, evaluated = isolated.encode("a"), isolated.evaluated
    number = isolated.process_id
    os.kill(number, signal.SIGKILL)
    while isolated.process_id is not None:
        time.sleep(0.01)
    assert np.array_equal(isolated.encode("a"), expected)
    assert isolated.process_id not in (None, number)
    assert isolated.evaluated >= evaluated


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of another process")
def test_a_process_without_memory_is_an_error_and_not_the_end(tiny_path):
    import resource

    with IsolatedGritLM(tiny_path, threads=1, context_length=1024) as model:
        expected = model.encode("a")
        resource.prlimit(model.process_id, resource.RLIMIT_AS, (1 << 20, 1 << 20))
        with pytest.raises((ModelProcessError, OutOfMemoryError, MemoryError)):
            model.tokenize("word " * 10_000_000)
        if (number := model.process_id) is not None:  # it could tell, and lives
            os.kill(number, signal.SIGKILL)
            while model.process_id == number:
                time.sleep(0.01)
        assert np.array_equal(model.encode("a"), expected)


def test_a_program_lives_on_and_prints_nothing_when_native_code_crashes(tiny_path):
    script = f"""
import os
from gritlite import IsolatedGritLM

model = IsolatedGritLM({str(tiny_path)!r}, threads=1)
before = model.encode("a")
os.kill(model.process_id, 11)
while model.process_id is not None:
    pass
print((model.encode("a") == before).all())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
