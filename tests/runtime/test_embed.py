"""Embedding: vectors do not depend on packing, and every input has a defined outcome."""

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite import GritLM, instruction
from gritlite.errors import (
    CancelledError,
    ClosedError,
    EmptyTextError,
    InputError,
    InputTooLongError,
    OutOfMemoryError,
    TruncationWarning,
    UsageError,
)
from gritlite.runtime.llama import Batch, Context, ContextOptions, Weights
from gritlite.system import machine
from tests.some_texts import some_texts
from tests.tiny_tokenizers import SENTENCES

pytestmark = pytest.mark.usefixtures("both_engines")

QUERY = instruction("Find it")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))


def reference(path: Path, ids: list[int], start: int) -> np.ndarray:
    """Return a text's vector from a separate pass."""
    n = len(ids)
    options = ContextOptions(n_ctx=1024, n_batch=1024, threads=1, causal=False, hidden=True)
    with Weights(path, gpu_layers=0) as weights, Context(weights, options) as context:
        hidden = context.decode(
            Batch(
                tokens=np.array(ids, np.int32),
                positions=np.arange(n, dtype=np.int32),
                sequences=np.zeros(n, np.int32),
                outputs=np.ones(n, np.bool_),
            )
        )
    mean = hidden[start:].mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


@pytest.mark.parametrize(
    "options",
    [
        {"case": "llama-tied"},
        {"case": "mistral"},
        {"case": "qwen2"},
        # every expert: of two that are all but equal rounding chooses, and a test without torch
        # cannot tell such texts; tests/oracle/test_experts.py does
        {"case": "mixtral", "num_experts_per_tok": 4},
    ],
    ids=lambda options: options["case"],
)
def test_packed_vectors_match_separate_passes(options: Any, tiny_file) -> None:
    path = tiny_file(**options)
    texts = some_texts(40)
    with GritLM(path, threads=1) as model:
        vectors = model.encode(texts, instruction=QUERY)
        assert vectors.shape == (40, model.dimension)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        tokenizer = model._tokenizer
        tokens = [tokenizer.text(tokenizer.prompt(QUERY), text) for text in texts]
    for vector, piece in zip(vectors, tokens, strict=True):
        assert cosines(vector, reference(path, piece.ids.tolist(), piece.start)) > 0.999999


def test_a_vector_does_not_depend_on_its_neighbours(tiny_model: GritLM) -> None:
    texts = some_texts(200)
    together = tiny_model.encode(texts)
    alone = np.array([tiny_model.encode(text) for text in texts[:50]])
    assert cosines(together[:50], alone).min() > 0.999999
    assert cosines(together[::-1], tiny_model.encode(texts[::-1])).min() > 0.999999
    # the texts are different enough for a mix-up to show
    assert (together @ together.T - 2 * np.eye(200)).max() < 0.99999


@pytest.mark.parametrize("pass_tokens", [1, 7, 64, 2048])
def test_the_size_of_a_pass_changes_nothing(tiny_path: Path, pass_tokens: int) -> None:
    texts = some_texts(30, seed=1)
    with (
        GritLM(tiny_path, threads=1) as usual,
        GritLM(tiny_path, threads=1, pass_tokens=pass_tokens) as other,
    ):
        assert cosines(usual.encode(texts), other.encode(texts)).min() > 0.999999


def test_a_stream_is_ordered_and_bounded_in_memory(tiny_path: Path) -> None:
    texts = some_texts(300, seed=2)
    taken = 0

    def counted() -> Iterator[str]:
        nonlocal taken
        for text in texts:
            taken += 1
            yield text

    with GritLM(tiny_path, threads=1, pass_tokens=64) as model:
        parts, waiting = [], []
        for part in model.encode_stream(counted()):
            parts.append(part)
            waiting.append(taken - sum(map(len, parts)))
        assert len(parts) > 3  # more than a few windows of 16 passes
        assert max(waiting) <= 1
        assert cosines(np.concatenate(parts), model.encode(texts)).min() > 0.999999


def test_every_pass_is_reported(tiny_path: Path) -> None:
    texts = some_texts(300, seed=2)
    events: list[tuple[str, int]] = []
    with GritLM(tiny_path, threads=1, pass_tokens=64) as model:
        done = 0
        for part in model.encode_stream(texts, progress=lambda n: events.append(("pass", n))):
            done += len(part)
            events.append(("part", done))
    counts = [count for _, count in events]
    assert counts == sorted(counts)
    assert counts[-1] == 300
    # a window has 16 passes or more, and ends with all of its texts reported
    assert len(events) > 10 * sum(kind == "part" for kind, _ in events)
    for (_, count), (kind, of_part) in pairwise(events):
        assert kind == "pass" or count == of_part


def test_many_texts_of_one_token(tiny_model: GritLM) -> None:
    """More sequences than one pass can hold."""
    vectors = tiny_model.encode(["a"] * 700 + ["b"])
    assert cosines(vectors[:700], vectors[0]).min() > 0.999999
    assert cosines(vectors[700], vectors[0]) < 0.999


@pytest.mark.parametrize("number", [0, 3])
def test_an_empty_text_is_an_error(tiny_model: GritLM, number: int) -> None:
    texts = ["a", "b", "c", "d"]
    texts[number] = ""
    with pytest.raises(EmptyTextError, match=rf"text {number + 1}: empty") as raised:
        tiny_model.encode(texts)
    assert raised.value.index == number


@pytest.mark.parametrize("text", [" ", "  ", "\t", "\n", "\u3000", "\0", "\u200b", "\ufeff"])
@pytest.mark.parametrize("case", ["llama-tied", "mistral"])
def test_a_text_of_whitespace(case: str, text: str, tiny_file) -> None:
    """Embedded unchanged; an error only if the prompt's last token absorbs it."""
    with GritLM(tiny_file(case), threads=1) as model:
        tokenizer = model._tokenizer
        tokens = tokenizer.text(tokenizer.prompt(model.format.prompt), text)
        if tokens.content:
            vector = model.encode(text)
            expected = reference(model.path, tokens.ids.tolist(), tokens.start)
            assert cosines(vector, expected) > 0.999999
        else:
            with pytest.raises(EmptyTextError, match="text 1"):
                model.encode(text)


def test_no_texts(tiny_model: GritLM) -> None:
    assert tiny_model.encode([]).shape == (0, tiny_model.dimension)
    assert list(tiny_model.encode_stream([])) == []
    assert tiny_model.encode_corpus([]).shape == (0, tiny_model.dimension)


def test_inputs_that_are_not_texts(tiny_model: GritLM) -> None:
    with pytest.raises(InputError, match="text 2: "):
        tiny_model.encode(["a", None])
    with pytest.raises(InputError, match=r"text 1: .*surrogate"):
        tiny_model.encode(["\ud800"])
    with pytest.raises(UsageError, match="max_length is 0"):
        tiny_model.encode("a", max_length=0)
    with pytest.raises(UsageError, match="instruction is of type int: expected str"):
        tiny_model.encode("a", instruction=5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="get_cache"):
        tiny_model.encode("a", get_cache=True)
    with pytest.warns(UserWarning, match="encode\\(\\) has no parameter prompt_name"):
        tiny_model.encode("a", prompt_name="x")


def test_a_text_is_truncated_as_by_the_official_package(tiny_model: GritLM) -> None:
    text = " ".join(SENTENCES)
    with pytest.warns(TruncationWarning, match="cut to 40 tokens"):
        cut = tiny_model.encode(["a", text], max_length=40, instruction=QUERY)[1]
    tokenizer = tiny_model._tokenizer
    tokens = tokenizer.text(tokenizer.prompt(QUERY), text)
    expected = reference(tiny_model.path, tokens.ids.tolist()[:40], tokens.start)
    assert cosines(cut, expected) > 0.999999


def test_the_warning_names_the_limit(tiny_file) -> None:
    warned = pytest.warns(TruncationWarning, match="cut to 128 tokens")
    with GritLM(tiny_file("llama-tied", context=128), threads=1) as model, warned:
        model.encode("word " * 200)


def test_max_length_none_never_truncates(tiny_model: GritLM) -> None:
    text = "word " * 2000
    with pytest.raises(InputTooLongError, match=r"text 2: .* limit of 1024") as raised:
        tiny_model.encode(["a", text], max_length=None)
    assert raised.value.index == 1
    with pytest.raises(InputTooLongError, match="limit of 1024"):
        list(tiny_model.encode_stream([text]))
    with pytest.raises(InputTooLongError, match="text 1: the prompt alone"):
        tiny_model.encode("some words", max_length=3, instruction=QUERY)


def test_chunks_are_averaged_by_their_tokens(tiny_model: GritLM) -> None:
    text = " ".join(some_texts(12, seed=3))
    (vector,) = np.concatenate(
        list(tiny_model.encode_stream([text], max_length=50, too_long="chunk", instruction=QUERY))
    )
    tokenizer = tiny_model._tokenizer
    prompt = tokenizer.prompt(QUERY)
    ids = tokenizer.text(prompt, text).ids.tolist()
    head, body = ids[: prompt.length], ids[prompt.length :]
    room = 50 - len(head)
    assert len(body) > 3 * room
    total = np.zeros(tiny_model.dimension)
    options = ContextOptions(n_ctx=64, n_batch=64, threads=1, causal=False, hidden=True)
    with Weights(tiny_model.path) as weights, Context(weights, options) as context:
        for start in range(0, len(body), room):
            piece = head + body[start : start + room]
            n = len(piece)
            context.clear()
            hidden = context.decode(
                Batch(
                    np.array(piece, np.int32),
                    np.arange(n, dtype=np.int32),
                    np.zeros(n, np.int32),
                    np.ones(n, np.bool_),
                )
            )
            total += hidden[len(head) :].sum(axis=0)
    assert cosines(vector, total) > 0.999999


def test_a_text_of_20000_tokens(tiny_model: GritLM) -> None:
    text = "9" * 20_000
    assert len(tiny_model.tokenize(text)) == 20_000
    with pytest.raises(InputTooLongError, match="text 1: 200"):
        tiny_model.encode(text, max_length=None)
    cut = threading.Event()
    streams = {
        "chunk": list(tiny_model.encode_stream(["a", text, "b"], too_long="chunk")),
        "truncate": list(
            tiny_model.encode_stream(["a", text, "b"], too_long="truncate", on_cut=cut)
        ),
    }
    assert cut.is_set()
    usual = tiny_model.encode(["a", "b"])
    for parts in streams.values():
        vectors = np.concatenate(parts)
        assert vectors.shape == (3, tiny_model.dimension)
        assert cosines(vectors[[0, 2]], usual).min() > 0.999999


def test_the_context_grows_for_a_long_text(tiny_path: Path) -> None:
    short, long = some_texts(5), "word " * 150
    with (
        GritLM(tiny_path, threads=1, pass_tokens=32) as model,
        GritLM(tiny_path, threads=1) as usual,
    ):
        for texts in (short, [long], short, [long, *short]):
            expected = usual.encode(texts, max_length=None)
            assert cosines(model.encode(texts, max_length=None), expected).min() > 0.999999


def test_embed_instruction_pools_the_instruction(tiny_model: GritLM) -> None:
    text = SENTENCES[0]
    tokenizer = tiny_model._tokenizer
    ids = tokenizer.text(tokenizer.prompt(QUERY), text).ids.tolist()
    vector = tiny_model.encode(text, instruction=QUERY, embed_instruction=True)
    assert cosines(vector, reference(tiny_model.path, ids, 0)) > 0.999999


def test_corpora(tiny_model: GritLM) -> None:
    documents = [{"title": "T", "text": "x y"}, {"text": "x y"}]
    expected = tiny_model.encode(["T x y", "x y"])
    assert cosines(tiny_model.encode_corpus(documents), expected).min() > 0.999999
    assert cosines(tiny_model.encode_corpus(documents[0])[0], expected[0]) > 0.999999
    assert cosines(tiny_model.encode_corpus("x y"), expected[1]) > 0.999999
    with pytest.raises(InputError, match="text 2"):
        tiny_model.encode_corpus([{"text": "x"}, {"title": "only"}])


def test_cancelled_before_and_during_a_job(tiny_model: GritLM) -> None:
    cancel = threading.Event()
    stream = tiny_model.encode_stream(("word " * 90 for _ in range(10**6)), cancel=cancel)
    next(stream)
    cancel.set()
    with pytest.raises(CancelledError):
        next(stream)
    with pytest.raises(CancelledError):
        tiny_model.encode(["a"], cancel=cancel)


def test_cancelled_from_another_thread_within_a_pass(tiny_model: GritLM) -> None:
    cancel = threading.Event()
    ended: list[float] = []

    def embed() -> None:
        try:
            tiny_model.encode(["word " * 90] * 20_000, cancel=cancel)
        except CancelledError:
            ended.append(time.perf_counter())

    thread = threading.Thread(target=embed)
    tiny_model.encode("the context is made")
    thread.start()
    time.sleep(0.3)
    cancel.set()
    start = time.perf_counter()
    thread.join(30)
    assert ended
    assert ended[0] - start < 2


def test_closed_during_a_stream(tiny_path: Path) -> None:
    model = GritLM(tiny_path, threads=1)
    stream = model.encode_stream(iter(["word " * 90] * 100_000))
    next(stream)
    model.close()
    with pytest.raises(ClosedError):
        list(stream)
    with pytest.raises(ClosedError):
        model.encode("a")
    with pytest.raises(ClosedError):
        model.encode_stream(["a"])
    model.close()


@pytest.mark.parametrize("round", range(8))
def test_closed_while_other_threads_embed(tiny_path: Path, round: int) -> None:
    """A crash here would end the test run."""
    model = GritLM(tiny_path, threads=1)
    outcomes: list[type[BaseException]] = []

    def embed() -> None:
        try:
            while True:
                model.encode(["word " * 20] * 40)
        except Exception as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=embed) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.02 * round)
    model.close()
    for thread in threads:
        thread.join(20)
    assert outcomes == [ClosedError] * 3


def test_a_pass_that_does_not_fit_in_memory_is_refused(tiny_model: GritLM, monkeypatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 1 << 20)
    with pytest.raises(OutOfMemoryError, match="but 1 MiB are free"):
        tiny_model.encode("hello")
    monkeypatch.setattr(machine, "available_memory", lambda: None)  # a system that does not tell
    assert tiny_model.encode("hello").shape == (tiny_model.dimension,)
