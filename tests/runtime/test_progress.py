"""Progress of passes and prompts, and their end in the middle: cancelled, closed, by an error."""

import threading

import pytest

from gritlite import CancelledError, ClosedError, GritLM
from tests.runtime.closing import close_meanwhile

PROMPT = "some words and more " * 45
GREEDY = {"temperature": 0, "max_tokens": 8}


def fresh(path):
    with GritLM(path, threads=1) as model:
        return model.generate(PROMPT, **GREEDY)


def test_encode_reports_texts(tiny_model):
    seen, threads = [], set()

    def progress(done, total):
        seen.append((done, total))
        threads.add(threading.get_ident())

    tiny_model.encode(["word " * 90] * 50, progress=progress)
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert seen[-1] == (50, 50)
    assert threads == {threading.get_ident()}
    tiny_model.encode_corpus([{"text": "a"}], progress=progress)
    assert seen[-1] == (1, 1)


def test_an_error_of_the_callback_ends_encode(tiny_model):
    def progress(done, total):
        raise ZeroDivisionError("the app's")

    with pytest.raises(ZeroDivisionError, match="the app's"):
        tiny_model.encode(["a", "b"], progress=progress)
    assert tiny_model.encode("a").any()


def test_a_prompt_reports_tokens(tiny_model):
    seen = []
    tiny_model.generate(PROMPT, **GREEDY, progress=lambda *step: seen.append(step))
    total = len(tiny_model.prompt_tokens(PROMPT))
    assert seen == [(512, total), (total, total)]
    seen.clear()
    tiny_model.generate(PROMPT + "end", **GREEDY, progress=lambda *step: seen.append(step))
    assert len(seen) == 1
    assert seen[0][0] == seen[0][1] < 10  # the rest is cached


def test_the_prompt_of_a_prefix_reports_tokens(tiny_model):
    seen = []
    state = tiny_model.prefix_state(PROMPT, progress=lambda *step: seen.append(step))
    assert seen == [(512, state.tokens), (state.tokens, state.tokens)]


def test_a_graph_that_reads_a_prompt_reports_tokens(tiny_path, exact_graph):
    seen = []
    with GritLM(tiny_path, threads=1) as model:
        model.generate(PROMPT, **GREEDY, progress=lambda *step: seen.append(step))
        total = len(model.prompt_tokens(PROMPT))
    assert seen == sorted(seen)
    assert seen[-1] == (total - 1, total)


def test_an_error_of_the_callback_ends_an_answer(tiny_model, tiny_path):
    def progress(done, total):
        raise ZeroDivisionError("the app's")

    answer = tiny_model.generate(PROMPT, stream=True, **GREEDY, progress=progress)
    with pytest.raises(ZeroDivisionError, match="the app's"):
        next(answer)
    assert list(answer) == []
    assert answer.finish_reason == "cancelled"
    assert tiny_model.generate(PROMPT, **GREEDY) == fresh(tiny_path)


def test_a_prompt_is_cancelled_within_a_batch(tiny_model, tiny_path, endless_pass):
    answer = tiny_model.generate(PROMPT, stream=True, **GREEDY)
    reader = threading.Thread(target=list, args=(answer,))
    reader.start()
    assert endless_pass.wait(60)
    answer.cancel()
    reader.join(60)
    assert not reader.is_alive()
    assert (answer.text, answer.finish_reason) == ("", "cancelled")
    assert tiny_model.evaluated == 0
    assert tiny_model.generate(PROMPT, **GREEDY) == fresh(tiny_path)


def test_a_prefix_is_cancelled_within_a_batch(tiny_model, endless_pass):
    cancel = threading.Event()
    threading.Thread(target=lambda: endless_pass.wait(60) and cancel.set()).start()
    with pytest.raises(CancelledError):
        tiny_model.prefix_state(PROMPT, cancel=cancel)
    assert tiny_model.prefix_state(PROMPT).tokens > 512


def test_a_state_is_cancelled_within_its_pass(tiny_model, endless_pass):
    cancel = threading.Event()
    threading.Thread(target=lambda: endless_pass.wait(60) and cancel.set()).start()
    with pytest.raises(CancelledError):
        tiny_model.document_state("some words", cancel=cancel)


WORK = {
    "encode": lambda model: model.encode(["word " * 90] * 50),
    "stream": lambda model: list(model.encode_stream(["word " * 90] * 50)),
    "generate": lambda model: model.generate(PROMPT, **GREEDY),
    "chat": lambda model: model.chat([{"role": "user", "content": PROMPT}], **GREEDY),
    "prefix": lambda model: model.prefix_state(PROMPT),
    "document": lambda model: model.document_state("some words"),
}


@pytest.mark.parametrize("work", WORK)
def test_closing_ends_the_pass_in_progress(tiny_path, endless_pass, work):
    model = GritLM(tiny_path, threads=1)
    close_meanwhile(model, WORK[work], endless_pass)
    with pytest.raises(ClosedError):
        WORK[work](model)
