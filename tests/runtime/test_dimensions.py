"""Vectors cut to a size that the model was trained for: what they are, and where others fail."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gritlite import GritLM, IsolatedGritLM
from gritlite.convert import convert
from gritlite.errors import FormatError, UsageError
from gritlite.modelfile.header import read_header
from tests.tiny import make_checkpoint
from tests.tiny_adapters import make_adapter, write_said

TEXTS = ["one", "two words", "a third text"]


def cut(vectors: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    kept = vectors[:, :size]
    return kept / np.linalg.norm(kept, axis=1, keepdims=True)


@pytest.mark.parametrize("size", [8, 16])
def test_they_are_the_first_numbers_of_unit_length(sized_model: GritLM, size: int) -> None:
    whole = sized_model.encode(TEXTS)
    found = sized_model.encode(TEXTS, dimensions=size)
    np.testing.assert_allclose(found, cut(whole, size), atol=1e-6)
    (streamed,) = sized_model.encode_stream(TEXTS, dimensions=size)
    np.testing.assert_array_equal(streamed, found)
    assert sized_model.encode("one", dimensions=size).shape == (size,)
    assert sized_model.encode([], dimensions=size).shape == (0, size)


def test_all_dimensions_are_the_whole_vector(sized_model: GritLM) -> None:
    whole = sized_model.encode(TEXTS)
    np.testing.assert_array_equal(sized_model.encode(TEXTS, dimensions=64), whole)


def test_an_isolated_model_gives_the_same(sized_path: Path, sized_model: GritLM) -> None:
    with IsolatedGritLM(sized_path, threads=1) as isolated:
        found = isolated.encode(TEXTS, dimensions=8)
        with pytest.raises(UsageError, match="was trained for 8, 16 and 64"):
            isolated.encode(TEXTS, dimensions=9)
    np.testing.assert_array_equal(found, sized_model.encode(TEXTS, dimensions=8))


@pytest.mark.parametrize("size", [-8, 0, 9, 65])
def test_other_sizes_are_refused(sized_model: GritLM, size: int) -> None:
    with pytest.raises(UsageError, match=f"dimensions is {size}: .* trained for 8, 16 and 64"):
        sized_model.encode(TEXTS, dimensions=size)


def test_a_model_that_was_not_trained_for_it_is_not_cut(tiny_model: GritLM) -> None:
    with pytest.raises(UsageError, match="were not trained to be cut: leave it out"):
        tiny_model.encode(TEXTS, dimensions=16)


def test_sizes_travel_with_the_file(sized_path: Path, tmp_path: Path) -> None:
    convert(sized_path, tmp_path / "small.gguf", "q8_0")
    for path in (sized_path, tmp_path / "small.gguf"):
        assert read_header(path).metadata["grit.embed.sizes"].tolist() == [8, 16]


def test_an_adapter_with_other_words_for_sizes(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base", "llama-head-dim")
    adapter = make_adapter(tmp_path / "adapter", base)
    write_said(adapter, {"grit.embed.sizes": "8, many"})
    with pytest.raises(FormatError, match="expected numbers"):
        convert(base, tmp_path / "model.gguf", "f32", adapter=adapter)
