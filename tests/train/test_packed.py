"""Packed sources: what is written comes back, and what cannot be trained from is refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gritlite import FileError, FormatError
from gritlite.train.examples import TokenizedPair
from gritlite.train.packed import (
    Arrays,
    distinct_texts,
    pack_pairs,
    pack_samples,
    read_packed,
    to_int8,
    write_packed,
)
from gritlite.train.recipe import Source
from gritlite.train.tokens import EmbedTokens, GenerateTokens

A, B, C = (EmbedTokens(ids, 2) for ids in ((1, 2, 3), (1, 2, 70_000, 5), (1, 2, 6)))
PAIRS = (
    TokenizedPair((A, B, C), 1, None, ("a", "b", "c")),
    TokenizedPair((B, A), 1, 0.7, ("b", "a")),
)
SAMPLES = (
    GenerateTokens((4, 5, 6, 9), (False, False, True, True), (2, 1), (4, 5, 8)),
    GenerateTokens((4, 5), (False, True), (1,)),
    GenerateTokens((7, 8), (False, True)),
)


def source(*objectives: str) -> Source:
    return Source("rows.npz", objectives, 2)


def packed(folder: Path, arrays: Arrays) -> Path:
    write_packed(folder / "rows.npz", arrays)
    return folder / "rows.npz"


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal((count, 384)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_pairs_come_back(tmp_path: Path) -> None:
    stored = vectors(3)
    path = packed(tmp_path, pack_pairs(PAIRS, stored))
    examples = read_packed(path, source("contrastive", "distillation"))
    assert examples.left_out == 0
    assert examples.rows.lengths.tolist() == [10, 7]
    taught = dict(zip("abc", to_int8(stored), strict=True))
    for read, pair in zip(examples.rows, PAIRS, strict=True):
        assert isinstance(read, TokenizedPair)
        assert (read.texts, read.positives, read.score) == (pair.texts, pair.positives, pair.score)
        for vector, word in zip(read.taught, pair.taught, strict=True):
            np.testing.assert_array_equal(vector, taught[str(word)])


def test_a_text_is_kept_once() -> None:
    assert distinct_texts(PAIRS) == [(A, "a"), (B, "b"), (C, "c")]
    assert len(pack_pairs(PAIRS, None)["lengths"]) == 3


def test_samples_come_back(tmp_path: Path) -> None:
    path = packed(tmp_path, pack_samples(SAMPLES))
    examples = read_packed(path, source("cached"))
    assert tuple(examples.rows) == SAMPLES
    assert examples.rows.lengths.tolist() == [4, 2, 2]
    assert examples.rows.highest == 9


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first = packed(tmp_path, pack_samples(SAMPLES)).read_bytes()
    assert packed(tmp_path, pack_samples(SAMPLES)).read_bytes() == first


def test_ids_take_two_bytes_where_they_fit() -> None:
    assert pack_samples(SAMPLES)["ids"].dtype == np.uint16
    assert pack_pairs(PAIRS, None)["ids"].dtype == np.uint32


def test_similarities_survive_the_rounding() -> None:
    exact = vectors(200)
    read = to_int8(exact).astype(np.float32)
    read /= np.linalg.norm(read, axis=1, keepdims=True)
    assert np.abs(read @ read.T - exact @ exact.T).max() < 0.02


@pytest.mark.parametrize(
    ("arrays", "objectives", "told"),
    [
        (pack_samples(SAMPLES), ("contrastive",), "do not suit the objectives contrastive"),
        (pack_pairs(PAIRS, None), ("cached",), "do not suit the objectives cached"),
        (pack_pairs(PAIRS, None), ("distillation",), "none are packed"),
        (pack_pairs(PAIRS, None), ("ranking",), "a score in every row"),
        (
            pack_pairs([TokenizedPair((A,), 0, None, ("a",))], None),
            ("contrastive",),
            "a positive in every",
        ),
        (pack_samples([]), ("generative",), "holds no rows"),
        ({"ids": np.arange(3)}, ("contrastive",), "holds no 'lengths'"),
        (pack_samples(SAMPLES) | {"lengths": np.array([3, 3])}, ("cached",), "do not add up"),
        (pack_pairs(PAIRS, None) | {"sizes": np.array([3, 3])}, ("contrastive",), "do not add up"),
        (pack_pairs(PAIRS, None) | {"starts": np.array([1])}, ("contrastive",), "as many rows or"),
        (
            pack_pairs(PAIRS, None) | {"scores": np.array([1.0])},
            ("contrastive",),
            "as many rows or",
        ),
        (pack_pairs(PAIRS, None) | {"members": np.arange(5)}, ("contrastive",), "does not hold"),
        (pack_samples(SAMPLES) | {"learned": np.array([], np.uint8)}, ("cached",), "as many rows"),
    ],
)
def test_what_cannot_be_trained_from(
    arrays: Arrays, objectives: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=told):
        read_packed(packed(tmp_path, arrays), source(*objectives))


def test_a_file_that_is_no_packed_source(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    with pytest.raises(FileError, match="cannot read"):
        read_packed(path, source("cached"))
    path.write_bytes(b"PK nonsense")
    with pytest.raises(FormatError, match="not a packed source"):
        read_packed(path, source("cached"))
