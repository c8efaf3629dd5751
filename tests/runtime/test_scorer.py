"""Scoring: log-probabilities match llama.cpp's logits, and no token is evaluated twice."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gritlite import GritLM
from gritlite.errors import (
    CancelledError,
    ClosedError,
    EmptyTextError,
    InputTooLongError,
    UsageError,
)
from gritlite.runtime import scorer
from gritlite.runtime.scorer import Scorer
from tests.reference import loaded, logits

F16 = 0.01  # what keys and values in f16 cost a tiny model, of 5 to 10 nats a token
TEXT = "It was a bright cold day in April, and the clocks were striking thirteen. "


def expected(path: Path, tokens: list[int]) -> np.ndarray:
    """Return the log-probabilities of tokens[1:] by llama.cpp, with keys and values in f32."""
    with loaded(path) as model:
        rows = logits(model, tokens[:-1]).astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows[np.arange(len(tokens) - 1), tokens[1:]]


@pytest.mark.parametrize("case", ["llama-head-dim", "mistral", "qwen2", "mixtral"])
@pytest.mark.parametrize("length", [2, 7, 256, 257, 600])
def test_scores_match_the_logits(tiny_file: Callable[..., Path], case: str, length: int) -> None:
    path = tiny_file(case)
    with GritLM(path, threads=1) as model:
        tokens = model.tokenize(TEXT * 40)[:length]
        assert len(tokens) == length
        found = Scorer(model).score(tokens)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected(path, tokens), atol=F16)
        for start in {1, length // 2, length - 1}:
            np.testing.assert_allclose(
                Scorer(model).score(tokens, start), found[start - 1 :], atol=F16
            )


def test_a_common_prefix_is_evaluated_once(
    tiny_model: GritLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = count_passes(monkeypatch)
    prompt = tiny_model.tokenize(TEXT * 10)
    scores = Scorer(tiny_model)
    first = scores.score([*prompt, 300, 301, 302], len(prompt))
    assert sum(passes) == len(prompt) + 2
    passes.clear()
    other = scores.score([*prompt, 17, 18], len(prompt))
    assert passes == [2]  # the prompt's last token, for its logits, and the first to score
    assert not np.allclose(first[0], other[0])
    again = scores.score([*prompt, 300, 301, 302], len(prompt))
    np.testing.assert_allclose(again, first, atol=F16)


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each pass appends its number of tokens."""
    passes: list[int] = []
    add = scorer.KVCache.add

    def counted(self: scorer.KVCache, tokens: list[int], outputs: np.ndarray) -> None:
        passes.append(len(tokens))
        add(self, tokens, outputs)

    monkeypatch.setattr(scorer.KVCache, "add", counted)
    return passes


def test_texts(tiny_file: Callable[..., Path]) -> None:
    for case in ("llama-head-dim", "mistral"):
        with GritLM(tiny_file(case), threads=1) as model:
            prompt = [*([] if model.bos is None else [model.bos]), *model.tokenize("Once upon a")]
            # a SentencePiece vocabulary puts a space before a text, and this one is no beginning
            after = model.tokenize(" time") if case == "llama-head-dim" else model.tokenize("time")
            found = Scorer(model).score_text("Once upon a", " time")
            np.testing.assert_allclose(
                found, Scorer(model).score([*prompt, *after], len(prompt)), atol=F16
            )
            with pytest.raises(EmptyTextError, match="continuation is empty"):
                Scorer(model).score_text("Once", "")


def test_an_empty_prompt_needs_a_bos(tiny_file: Callable[..., Path]) -> None:
    with GritLM(tiny_file("mistral"), threads=1) as model:
        assert model.bos is not None
        alone = Scorer(model).score([model.bos, *model.tokenize("Once")])
        np.testing.assert_allclose(Scorer(model).score_text("", "Once"), alone, atol=F16)
    with GritLM(tiny_file("qwen2"), threads=1) as model:
        assert model.bos is None
        with pytest.raises(EmptyTextError, match="prompt is empty"):
            Scorer(model).score_text("", "Once")


def test_bad_input(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1, context_length=16) as model:
        for tokens, start in (([], 1), ([5], 1), ([5, 6], 0), ([5, 6], 2), ([5, 6], -1)):
            with pytest.raises(UsageError, match=f"start is {start} of {len(tokens)} tokens"):
                Scorer(model).score(tokens, start)
        for token in (-1, 496, 2**40):
            with pytest.raises(UsageError, match=f"{token} is not a token: ids go from 0 to 495"):
                Scorer(model).score([5, token])
        with pytest.raises(InputTooLongError, match="17 tokens to score, but the context holds 16"):
            Scorer(model).score([5] * 17)
        assert len(Scorer(model).score([5] * 16)) == 15


def test_contexts_grow(tiny_model: GritLM) -> None:
    tokens = tiny_model.tokenize(TEXT * 40)[:1000]
    short = Scorer(tiny_model).score(tokens[:100])
    long = Scorer(tiny_model).score(tokens)
    np.testing.assert_allclose(long[:99], short, atol=F16)


def test_cancelling_and_closing(tiny_path: Path) -> None:
    with GritLM(tiny_path, threads=1) as model:
        cancel = threading.Event()
        cancel.set()
        with pytest.raises(CancelledError):
            Scorer(model).score([5, 6, 7], cancel=cancel)
        assert len(Scorer(model).score([5, 6, 7])) == 2
    with pytest.raises(ClosedError):
        Scorer(model).score([5, 6, 7])


def test_scoring_disturbs_neither_chats_nor_embeddings(tiny_model: GritLM) -> None:
    options = {"temperature": 0, "max_tokens": 24}
    alone = tiny_model.generate("Once", **options)
    vector = tiny_model.encode("Once")
    answer = tiny_model.generate("Once", stream=True, **options)
    pieces = pieces_between(answer, lambda: Scorer(tiny_model).score([5, 6, 7]))
    assert "".join(pieces) == alone
    np.testing.assert_array_equal(tiny_model.encode("Once"), vector)


def pieces_between(answer: Iterator[str], work: Callable[[], object]) -> list[str]:
    """Return the pieces of an answer, with other work before each."""
    pieces = []
    for piece in answer:
        pieces.append(piece)
        work()
    return pieces
