"""The comparison of an engine with llama.cpp: which texts, which cosines, which speeds."""

import numpy as np
import pytest

from gritlite.errors import NotFiniteError
from gritlite.modelfile.header import read_header
from gritlite.runtime.onnx.check import (
    Comparison,
    SampleEmbedder,
    cosines,
    fitting,
    sample_texts,
)
from tests.runtime.onnx.fake_bench import Clock, TurningEngine
from tests.sample_gguf import BPE, write_model


@pytest.fixture
def file(tmp_path):
    return read_header(write_model(tmp_path / "m.gguf", BPE))


def compare(file, llama, candidate, texts=None):
    clock = Clock()
    reference = SampleEmbedder(TurningEngine(clock, **llama), file)
    comparison = Comparison(reference, texts or sample_texts(), clock)
    return comparison.measure(reference, SampleEmbedder(TurningEngine(clock, **candidate), file))


def test_cosines():
    left = np.array([[1, 0], [1, 1], [3, 4], [0, 0]], np.float32)
    right = np.array([[2, 0], [1, -1], [4, 3], [1, 1]], np.float32)
    assert cosines(left, right).tolist() == pytest.approx([1, 0, 24 / 25, 0])


def test_the_same_vectors_at_the_same_speed(file):
    measures = compare(file, {}, {})
    assert measures.mean_cosine == pytest.approx(1)
    assert measures.least_cosine == pytest.approx(1)
    assert (measures.speed, measures.query_speed) == (pytest.approx(1), pytest.approx(1))


def test_cosines_are_those_of_turned_vectors(file):
    measures = compare(file, {}, {"angle": 0.1})
    # vectors are nearly in the plane that is turned, and those that are not have a larger cosine
    assert measures.least_cosine == pytest.approx(np.cos(0.1), abs=1e-3)
    assert measures.least_cosine < measures.mean_cosine < 1


def test_speeds_are_ratios_over_many_texts_and_over_one(file):
    measures = compare(file, {"speed": 1000}, {"speed": 4000})
    assert (measures.speed, measures.query_speed) == (pytest.approx(4), pytest.approx(4))
    measures = compare(file, {"speed": 1000}, {"speed": 4000, "overhead": 0.1})
    assert measures.query_speed < 0.5 < measures.speed


@pytest.mark.parametrize(
    ("ratios", "limit", "expected"),
    [([4, 4.2], 3, 4.1), ([4, 6, 5], 3, 5), ([1, 2, 3, 4, 5, 6, 7], 7, 4)],
)
def test_rounds_are_repeated_until_they_agree(file, monkeypatch, ratios, limit, expected):
    clock = Clock()
    llama, candidate = (SampleEmbedder(TurningEngine(clock), file) for _ in range(2))
    comparison = Comparison(llama, sample_texts(), clock)
    seconds = iter([each for ratio in ratios for each in (ratio, 1.0)])
    monkeypatch.setattr(comparison, "_seconds", lambda *_: next(seconds))
    found = comparison._ratio(llama, candidate, ["a"], limit)
    assert found == pytest.approx(expected)
    assert list(seconds) == []


def test_a_slow_model_is_checked_with_fewer_texts(file):
    clock = Clock()
    slow = compare(file, {"speed": 50}, {})
    assert slow.texts == len(sample_texts()) // 5
    assert compare(file, {"speed": 100_000}, {}).texts == len(sample_texts())
    reference = SampleEmbedder(TurningEngine(clock, speed=50), file)
    Comparison(reference, sample_texts(), clock)
    shortest = sum(reference.lengths(sample_texts()[: len(sample_texts()) // 5])) / 50
    assert clock.now < 2.5 * shortest


def test_a_vector_that_is_not_finite(file):
    with pytest.raises(NotFiniteError):
        compare(file, {}, {"angle": np.nan})


def test_texts_that_fit():
    assert fitting([3, 4, 5], 7, least=1) == 2
    assert fitting([3, 4, 5], 1, least=1) == 1
    assert fitting([3, 4, 5], 100, least=9) == 3


def test_the_sample_has_texts_of_all_kinds():
    texts = sample_texts()
    assert len(set(texts)) == len(texts) == 55
    lengths = [len(text) for text in texts]
    assert min(lengths) < 10
    assert max(lengths) > 3500
    assert not all(text.isascii() for text in texts[:8])
    assert any("{" in text for text in texts[:8])
