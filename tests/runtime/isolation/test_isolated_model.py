"""An isolated model does what one in this process does, bit for bit."""

import gc
import inspect
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gritlite import (
    CancelledError,
    ClosedError,
    EmptyTextError,
    FileError,
    GritLM,
    InputError,
    InputTooLongError,
    IsolatedGritLM,
    Scorer,
    TruncationWarning,
    UsageError,
)
from gritlite.runtime.any_model import open_scorer

TEXTS = ["The ferry leaves at seven.", "Let the dough rise.", "word " * 60, "a"] * 12
MESSAGES = [{"role": "user", "content": "Where does the boat go?"}]
SAMPLED = {"temperature": 0.9, "seed": 5, "max_tokens": 24}


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def test_it_has_every_method_of_a_model_or_refuses_it_by_name(isolated, tiny_model):
    own = {"embedding_engine", "scheduler", "engine", "attach", "detach", "edits"}
    own |= {"weights_changed"}
    assert {name for name in dir(tiny_model) if not name.startswith("_")} - own <= {
        name for name in dir(isolated) if not name.startswith("_")
    }
    for name in own:
        with pytest.raises(UsageError, match=f"has no {name}: its memory is in that process"):
            getattr(isolated, name)
    assert not hasattr(isolated, "no_such_thing")


@pytest.mark.parametrize("name", sorted(public(IsolatedGritLM) & public(GritLM)))
def test_methods_take_the_same_arguments(name):
    here, there = getattr(GritLM, name), getattr(IsolatedGritLM, name)
    if callable(here):
        parameters = inspect.signature(here).parameters
        assert list(inspect.signature(there).parameters) == list(parameters)
    else:
        assert isinstance(there, property)


def test_the_constructor_takes_the_arguments_of_a_model():
    here = list(inspect.signature(GritLM).parameters)
    assert list(inspect.signature(IsolatedGritLM).parameters) == [
        name for name in here if name != "editable"
    ]


def test_facts_and_tokens_are_the_same(isolated, tiny_model):
    names = (
        *("path", "dimension", "max_length", "longest_context", "context_length", "threads"),
        *("bos", "embeds_with", "graph_bytes", "is_trained_to_embed", "fingerprint"),
        *("format", "sliding_window", "prefix_length", "is_closed", "generates"),
    )
    for name in names:
        assert getattr(isolated, name) == getattr(tiny_model, name), name
    for call in (
        lambda model: model.tokenize("a text", continues=True),
        lambda model: model.embed_tokens("a text " * 9, max_length=20),
        lambda model: model.prompt_tokens("a text"),
        lambda model: model.chat_tokens(MESSAGES),
        lambda model: model.tokens_beyond(10**6, 100),
        lambda model: model.prefix_tokens("a text"),
        lambda model: model.token_counts(iter(TEXTS), instruction="do"),
        lambda model: model.check(TEXTS),
        lambda model: model.check_generates(),
        lambda model: model.clear_cache(),
    ):
        assert call(isolated) == call(tiny_model)
    here, there = tiny_model.document_tokens("a text"), isolated.document_tokens("a text")
    assert (there.ids.tolist(), there.start) == (here.ids.tolist(), here.start)


def test_vectors_are_the_same_bit_for_bit(isolated, tiny_model):
    for options in (
        {},
        {"instruction": "<|user|>\nfind\n<|embed|>\n", "embed_instruction": True},
        {"add_special_tokens": False},
    ):
        assert np.array_equal(
            isolated.encode(TEXTS, **options), tiny_model.encode(TEXTS, **options)
        )
    assert isolated.encode("a").shape == tiny_model.encode("a").shape
    assert isolated.encode([]).shape == (0, isolated.dimension)
    corpus = [{"title": "A", "text": "b"}]
    assert np.array_equal(isolated.encode_corpus(corpus), tiny_model.encode_corpus(corpus))
    chunks = {"max_length": 32, "too_long": "chunk"}
    here = np.concatenate([*tiny_model.encode_stream(iter(TEXTS), **chunks)])
    there = np.concatenate([*isolated.encode_stream(iter(TEXTS), **chunks)])
    assert np.array_equal(there, here)


def test_windows_states_and_progress_come_as_they_would_here(tiny_path):
    def streamed(model):
        kept, seen, asked = [], [], []

        def texts():
            for text in TEXTS:
                asked.append(text)
                yield text

        parts = [
            part.shape
            for part in model.encode_stream(
                texts(), keep=lambda *each: kept.append(each), progress=seen.append
            )
        ]
        return parts, kept, seen, len(asked)

    with (
        GritLM(tiny_path, threads=1, pass_tokens=64) as here,
        IsolatedGritLM(tiny_path, threads=1, pass_tokens=64) as there,
    ):
        assert len(streamed(here)[0]) > 2
        assert streamed(there) == streamed(here)


def test_nothing_is_computed_before_it_is_asked_for(tiny_path):
    with IsolatedGritLM(tiny_path, threads=1, pass_tokens=64) as model:
        asked = []
        texts = (asked.append(number) or "word " * 50 for number in range(10_000))
        stream = model.encode_stream(texts)
        assert asked == []
        next(stream)
        time.sleep(0.1)
        assert len(asked) < 100
        stream.close()
        answer = model.generate("a", stream=True, temperature=1.0, seed=1)
        next(answer)
        evaluated = model.evaluated
        time.sleep(0.1)
        assert model.evaluated == evaluated
        answer.close()


def test_answers_are_the_same_token_for_token(isolated, tiny_model):
    options = {**SAMPLED, "top_logprobs": 2, "stop": ("\x00",)}
    for ask in (
        lambda model: model.chat(MESSAGES, stream=True, **options),
        lambda model: model.generate("Once", stream=True, **options),
        lambda model: model.generate("Once", stream=True, max_tokens=900, temperature=0),
    ):
        here, there = ask(tiny_model), ask(isolated)
        assert there.new_tokens == here.new_tokens
        assert list(there) == list(here)
        names = (
            *("text", "tokens", "generated", "logprobs", "finish_reason", "dropped", "document"),
            *("prompt_tokens", "cached_tokens", "context_tokens", "is_exact", "cancelled"),
        )
        for name in names:
            assert getattr(there, name) == getattr(here, name), name
        assert next(there, None) is None
    assert isolated.chat(MESSAGES, **SAMPLED) == tiny_model.chat(MESSAGES, **SAMPLED)
    assert isolated.evaluated > 0


def test_messages_are_dropped_with_the_same_warning(tiny_path):
    long = [
        {"role": role, "content": "word " * 15} for _ in range(6) for role in ("user", "assistant")
    ]
    asked = [*long, *MESSAGES]

    def answered(model):
        with pytest.warns(TruncationWarning) as caught:
            text = model.chat(asked, **SAMPLED)
        streamed = model.chat(asked, stream=True, temperature=0, max_tokens=400)
        return text, str(caught[0].message), list(streamed), streamed.tokens, streamed.dropped

    options = {"threads": 1, "context_length": 256}
    with GritLM(tiny_path, **options) as here, IsolatedGritLM(tiny_path, **options) as there:
        assert answered(there) == answered(here)


def test_answers_follow_the_same_states(isolated, tiny_model):
    def answered(model):
        states = [model.prefix_state(text) for text in ("The inn is old.", "The ferry is new.")]
        joined = model.join_states(states, recompute=2)
        texts = [model.chat(MESSAGES, document=each, **SAMPLED) for each in (states[0], joined)]
        seen = model.document_state("The inn is old.")
        return states, seen, texts, model.generate("It", document=seen, **SAMPLED)

    assert answered(isolated) == answered(tiny_model)


def test_a_scorer_computes_the_same(isolated, tiny_model):
    with open_scorer(isolated) as there, Scorer(tiny_model) as here:
        tokens = tiny_model.tokenize("The inn is very old.")
        assert np.array_equal(there.score(tokens), here.score(tokens))
        assert np.array_equal(there.score_text("The", " inn"), here.score_text("The", " inn"))
        with pytest.raises(InputTooLongError, match="tokens to score"):
            there.score([1] * 5000)
        answer = (MESSAGES, "To the island.")
        assert np.array_equal(there.score_answer(*answer), here.score_answer(*answer))
    with pytest.raises(ClosedError):
        there.score(tokens)
    with pytest.raises(UsageError, match="has no edits"):
        Scorer(isolated)


WRONG = {
    "an empty text": lambda model: model.encode(["a", ""]),
    "no text": lambda model: model.encode(["a"] * 20 + [5]),
    "a long text": lambda model: model.encode("word " * 2000, max_length=None),
    "an error of the iterable": lambda model: [*model.encode_stream(int(x) for x in "12x")],
    "a cached argument": lambda model: model.encode("a", get_cache=True),
    "an option": lambda model: model.chat(MESSAGES, temperature=-1),
    "an unknown option": lambda model: model.chat(MESSAGES, temprature=1),
    "messages": lambda model: model.chat([{"role": "nobody", "content": "a"}]),
    "no messages": lambda model: model.chat([]),
    "a grammar": lambda model: model.generate("a", grammar="root ::= ("),
    "a schema": lambda model: model.chat(MESSAGES, json_schema={"type": "no type"}),
    "states and chunks": lambda model: model.encode_stream(
        ["a"], too_long="chunk", keep=lambda *_: None
    ),
    "a long chat": lambda model: model.chat([{"role": "user", "content": "word " * 2000}]),
    "an empty prefix": lambda model: model.prefix_state(""),
    "no states": lambda model: model.join_states([]),
    "a surrogate": lambda model: model.encode("\ud800"),
    "a token count": lambda model: model.token_counts(["a"] * 40 + [""]),
}


def test_progress_of_texts_and_prompts_is_the_same(isolated, tiny_model):
    def seen_by(model):
        seen = []

        def progress(*counts):
            seen.append(counts)

        model.encode(TEXTS, progress=progress)
        model.clear_cache()
        model.prefix_state("word " * 200, progress=progress)
        model.clear_cache()
        long = [{"role": "user", "content": "word " * 200}]
        model.chat(long, max_tokens=2, temperature=0, progress=progress)
        return seen

    seen = seen_by(tiny_model)
    assert len(seen) > 4
    assert seen_by(isolated) == seen

    def fail(*_):
        raise RuntimeError("the window is closed")

    isolated.clear_cache()
    answer = isolated.generate("word " * 200, stream=True, temperature=0, progress=fail)
    with pytest.raises(RuntimeError, match="the window is closed"):
        next(answer)
    assert list(answer) == []
    assert answer.finish_reason == "cancelled"
    with pytest.raises(UsageError, match="progress is 5: expected a function"):
        isolated.chat(MESSAGES, progress=5)


def test_states_are_cancelled(isolated):
    cancel = threading.Event()
    cancel.set()
    for compute in (isolated.prefix_state, isolated.document_state):
        with pytest.raises(CancelledError):
            compute("word " * 200, cancel=cancel)


def test_an_event_loop_awaits_it(isolated, tiny_model):
    import asyncio

    from gritlite import AsyncGritLM

    async def both():
        model = AsyncGritLM(isolated)
        return await asyncio.gather(model.encode(TEXTS), model.chat(MESSAGES, **SAMPLED))

    vectors, text = asyncio.run(both())
    assert np.array_equal(vectors, tiny_model.encode(TEXTS))
    assert text == tiny_model.chat(MESSAGES, **SAMPLED)


@pytest.mark.parametrize("wrong", WRONG)
def test_errors_are_the_same(isolated, tiny_model, wrong):
    def error_of(model):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            WRONG[wrong](model)
        return caught.value

    here, there = error_of(tiny_model), error_of(isolated)
    assert (type(there), str(there)) == (type(here), str(here))
    assert getattr(there, "index", None) == getattr(here, "index", None)
    assert isolated.encode("a").shape == (isolated.dimension,)


def test_a_file_that_cannot_be_loaded_is_told_as_it_would_be_here(tmp_path, tiny_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_path.read_bytes()[:-5000])
    for path, options in (
        (tmp_path / "nowhere.gguf", {}),
        (broken, {}),
        (tiny_path, {"parallel": 3}),
        (tiny_path, {"context_length": 0}),
        (tiny_path, {"engine": "no engine"}),
    ):
        with pytest.raises(Exception) as here:  # noqa: PT011
            GritLM(path, **options)
        with pytest.raises(type(here.value)) as there:
            IsolatedGritLM(path, **options)
        assert str(there.value) == str(here.value)


def test_cancelling_ends_encode_and_answers_and_nothing_else(isolated, tiny_model):
    cancel = threading.Event()
    seen = []

    def cancel_later(count):
        seen.append(count)
        cancel.set()

    with pytest.raises(CancelledError, match="the embedding job was cancelled"):
        for _ in isolated.encode_stream(
            ["word " * 100] * 200, cancel=cancel, progress=cancel_later
        ):
            pass
    assert seen[-1] < 100
    answer = isolated.generate("Once", stream=True, temperature=1.0, seed=1, max_tokens=900)
    next(answer)
    answer.cancel()
    rest = list(answer)
    assert len(rest) <= 2
    assert answer.finish_reason == "cancelled"
    assert answer.cancelled
    assert answer.text
    assert np.array_equal(isolated.encode(TEXTS), tiny_model.encode(TEXTS))


def test_an_answer_that_is_waited_for_is_cancelled_from_another_thread(isolated):
    prompt = "word " * 240
    answer = isolated.generate(prompt, stream=True, temperature=1.0, seed=1)
    timer = threading.Timer(0.01, answer.cancel)
    timer.start()
    pieces = list(answer)
    timer.join()
    assert answer.finish_reason == "cancelled"
    assert len(pieces) < 100
    with isolated.generate("a", stream=True, temperature=1.0, seed=1) as closed:
        next(closed)
    assert closed.finish_reason == "cancelled"


def test_errors_of_callbacks_are_raised_and_end_the_work(isolated):
    def fail(*_):
        raise RuntimeError("the disk is full")

    for hook in ("keep", "progress"):
        with pytest.raises(RuntimeError, match="the disk is full"):
            list(isolated.encode_stream(["word " * 100] * 50, **{hook: fail}))
    assert isolated.encode("a").shape == (isolated.dimension,)


def test_threads_share_the_process(isolated, tiny_model):
    vectors = tiny_model.encode(TEXTS)
    text = tiny_model.chat(MESSAGES, **SAMPLED)
    with ThreadPoolExecutor(4) as pool:
        encoded = [pool.submit(isolated.encode, TEXTS) for _ in range(4)]
        chatted = [pool.submit(isolated.chat, MESSAGES, **SAMPLED) for _ in range(4)]
        assert all(np.array_equal(each.result(), vectors) for each in encoded)
        assert [each.result() for each in chatted] == [text] * 4


def test_progress_of_a_load_is_told_and_a_load_is_cancelled(tiny_path):
    seen, threads = [], set()

    def progress(done, total):
        seen.append((done, total))
        threads.add(threading.get_ident())

    with IsolatedGritLM(tiny_path, threads=1, progress=progress) as model:
        assert (seen[0], seen[-1]) == ((0, 1000), (1000, 1000))
        assert threads == {threading.get_ident()}
        model.load(progress=progress)
        assert seen[-1] == (1000, 1000)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        IsolatedGritLM(tiny_path, threads=1, cancel=cancel)


def test_a_closed_model_is_told_also_to_those_who_wait(tiny_path):
    model = IsolatedGritLM(tiny_path, threads=1)
    answer = model.generate("a", stream=True, temperature=1.0, seed=1)
    stream = model.encode_stream(["word " * 100] * 500)
    process = model.process_id
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(model.encode, ["word " * 100] * 2000)
        time.sleep(0.2)
        model.close()
        with pytest.raises(ClosedError):
            waiting.result(timeout=10)
    for call in (lambda: next(answer), lambda: next(stream), lambda: model.encode("a")):
        with pytest.raises(ClosedError):
            call()
    answer.close()
    model.close()
    assert model.is_closed
    assert model.process_id is None
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_model_that_is_dropped_ends_its_process(tiny_path):
    model = IsolatedGritLM(tiny_path, threads=1)
    answer = model.generate("a", stream=True, temperature=1.0, seed=1)
    process, known = model.process_id, weakref.ref(model)
    del model
    assert next(answer)
    del answer
    gc.collect()
    assert known() is None
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_file_that_changed_is_not_loaded_again(tiny_path, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_path.read_bytes())
    with IsolatedGritLM(path, threads=1) as model:
        os.kill(model.process_id, 9)
        wait_for_end(model)
        path.touch()
        with pytest.raises(FileError, match="changed or moved after it was loaded"):
            model.encode("a")


def wait_for_end(model):
    end = time.monotonic() + 10
    while model.process_id is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert model.process_id is None


def test_it_says_what_it_is(tiny_path):
    with IsolatedGritLM(tiny_path, threads=1) as model:
        name = f"<IsolatedGritLM model.gguf: embeds with llama, process {model.process_id}>"
        assert repr(model) == name
        answer = model.generate("a", stream=True, max_tokens=1, temperature=0)
        assert repr(answer) == "<IsolatedAnswer: 0 tokens, not ended>"
        answer.close()
        assert repr(answer) == "<IsolatedAnswer: 0 tokens, cancelled>"
    assert repr(model) == "<IsolatedGritLM model.gguf: closed>"


def test_empty_texts_are_told_by_their_number(isolated):
    with pytest.raises(EmptyTextError) as caught:
        isolated.encode(["a"] * 33 + [""])
    assert caught.value.index == 33
    with pytest.raises(InputError) as wrong:
        isolated.encode(["a"] * 33 + [None])
    assert wrong.value.index == 33
