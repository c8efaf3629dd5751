"""`encode` gives the vectors of the official package: f32 against f32, text by text."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gritlm
import numpy as np
import pytest
import torch

from gritlite import GritLM, instruction
from gritlite.errors import TruncationWarning
from tests.tiny_tokenizers import SENTENCES

pytestmark = [
    pytest.mark.torch,
    # transformers' own: what the official package passes to it was renamed
    pytest.mark.filterwarnings("ignore:`torch_dtype` is deprecated"),
]

CASES = (
    *("mistral", "mixtral", "llama-tied", "llama-llama3", "llama-yarn", "qwen2", "qwen2-yarn"),
    pytest.param("smollm2", marks=pytest.mark.real),
)
QUERY = instruction("Given a question, retrieve the passage that answers it")
DOCUMENT = instruction("")
CLOSE = 0.9999


@pytest.fixture(scope="module", params=CASES)
def models(request: pytest.FixtureRequest) -> Iterator[tuple[GritLM, Any]]:
    """The same weights in gritlite and in the official package."""
    if request.param == "smollm2":
        pair = request.getfixturevalue("smollm2_pair")
    else:
        pair = request.getfixturevalue("tiny_pair")(request.param)
    with GritLM(pair.file) as ours:
        yield ours, official(pair.folder)


def official(folder: Path) -> Any:
    """The official package on a folder, in f32 on the processor."""
    with contextlib.redirect_stdout(io.StringIO()):
        return gritlm.GritLM(str(folder), device="cpu", torch_dtype=torch.float32, mode="unified")


def ragged_texts(model: GritLM) -> list[str]:
    """64 texts of 1 to about 500 tokens."""
    random = np.random.default_rng(5)
    words = " ".join(SENTENCES).split(" ")
    texts = []
    for length in np.geomspace(1, 500, 64):
        text = "a"
        while len(model.tokenize(longer := f"{text} {random.choice(words)}")) <= length:
            text = longer
        texts.append(text)
    return texts


def least_cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The smallest cosine of two lists of vectors, row by row."""
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all()
    np.testing.assert_allclose(np.linalg.norm(ours, axis=-1), 1, atol=1e-5)
    return float((ours * theirs).sum(-1).min())


@pytest.mark.parametrize("prompt", [DOCUMENT, QUERY], ids=["documents", "queries"])
def test_ragged_texts(models: tuple[GritLM, Any], prompt: str) -> None:
    ours, theirs = models
    texts = ragged_texts(ours)
    lengths = [len(ours.tokenize(text)) for text in texts]
    assert min(lengths) == 1
    assert 450 <= max(lengths) <= 500
    expected = theirs.encode(texts, batch_size=8, max_length=1024, instruction=prompt)
    vectors = ours.encode(texts, max_length=1024, instruction=prompt)
    least = least_cosine(vectors, expected)
    print("least cosine", least)
    assert least >= CLOSE
    # other texts are not as close
    assert (expected @ expected.T).min() < 0.9


@pytest.mark.parametrize(
    "options", [{"embed_instruction": True}, {"add_special_tokens": False}], ids=str
)
def test_what_is_pooled(models: tuple[GritLM, Any], options: Any) -> None:
    ours, theirs = models
    texts = ragged_texts(ours)[:40:4]
    expected = theirs.encode(texts, instruction=QUERY, **options)
    assert least_cosine(ours.encode(texts, instruction=QUERY, **options), expected) >= CLOSE


def test_cut_texts(models: tuple[GritLM, Any]) -> None:
    ours, theirs = models
    texts = ragged_texts(ours)[::4]
    length = 64
    with pytest.warns(TruncationWarning, match="64 tokens"):
        vectors = ours.encode(texts, max_length=length, instruction=DOCUMENT)
    expected = theirs.encode(texts, max_length=length, instruction=DOCUMENT)
    assert least_cosine(vectors, expected) >= CLOSE


def test_no_instruction_means_the_document_prompt(models: tuple[GritLM, Any]) -> None:
    ours, theirs = models
    texts = list(SENTENCES)
    expected = theirs.encode(texts, instruction=DOCUMENT)
    assert least_cosine(ours.encode(texts), expected) >= CLOSE


def test_queries_and_corpus(models: tuple[GritLM, Any]) -> None:
    ours, theirs = models
    queries = list(SENTENCES[:4])
    corpus = [{"title": text[:12], "text": text[12:]} for text in SENTENCES[4:8]]
    corpus += [{"text": SENTENCES[8]}, {"title": "", "text": SENTENCES[8]}]
    kinds: Sequence[tuple[str, Any, str]] = (
        ("encode_queries", queries, QUERY),
        ("encode_corpus", corpus, DOCUMENT),
        ("encode_corpus", list(SENTENCES), DOCUMENT),
        ("encode_corpus", corpus[0], DOCUMENT),
    )
    for name, texts, prompt in kinds:
        expected = getattr(theirs, name)(texts, instruction=prompt)
        assert least_cosine(getattr(ours, name)(texts, instruction=prompt), expected) >= CLOSE


def test_one_text_and_tensors(models: tuple[GritLM, Any]) -> None:
    ours, theirs = models
    options = {"instruction": DOCUMENT, "convert_to_tensor": True}
    vector, expected = (model.encode(SENTENCES[0], **options) for model in models)
    assert isinstance(vector, torch.Tensor)
    assert vector.shape == expected.shape == (ours.dimension,)
    assert vector.dtype == torch.float32
    assert float(vector @ expected) >= CLOSE
    vectors = ours.encode(list(SENTENCES), batch_size=2, recast=True)
    assert vectors.shape == (len(SENTENCES), theirs.model.config.hidden_size)
