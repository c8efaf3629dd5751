"""The projection of a model's vectors: what whitening does, and how few vectors are enough."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gritlite.train.projection import find_projection, write_projection


@pytest.fixture
def vectors() -> NDArray[np.float32]:
    """Vectors that reach up to 12 times as far along some axes as along others."""
    random = np.random.default_rng(1)
    made = random.normal(size=(20_000, 12)) * np.arange(1, 13)
    return made.astype(np.float32)


def mean_squares(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.square(vectors.astype(np.float64)).mean(axis=0)


def test_without_whitening_it_turns_vectors_and_puts_the_widest_axis_first(
    vectors: NDArray[np.float32],
) -> None:
    projected = vectors @ find_projection(vectors, 0)
    some, turned = vectors[:50], projected[:50]
    np.testing.assert_allclose(turned @ turned.T, some @ some.T, rtol=1e-4, atol=1e-3)
    assert (np.diff(mean_squares(projected)) < 0).all()


def test_whitened_vectors_vary_alike_along_all_axes_and_alone(
    vectors: NDArray[np.float32],
) -> None:
    projected = vectors @ find_projection(vectors, 1)
    moments = projected.T @ projected / len(projected)
    np.testing.assert_allclose(moments / moments[0, 0], np.eye(12), atol=0.05)


def test_half_whitened_vectors_vary_by_the_root_of_what_they_did(
    vectors: NDArray[np.float32],
) -> None:
    turned, half = (mean_squares(vectors @ find_projection(vectors, part)) for part in (0, 0.5))
    np.testing.assert_allclose(half / half[0], np.sqrt(turned / turned[0]), rtol=0.05)


def test_axes_that_few_vectors_tell_nothing_of_are_not_blown_up(tmp_path: Path) -> None:
    few = np.random.default_rng(2).normal(size=(3, 8)).astype(np.float32)
    write_projection(tmp_path, find_projection(few, 1))
    written = np.load(tmp_path / "projection.npy")
    assert written.dtype == np.float16
    assert np.linalg.norm(written.astype(np.float32), axis=0).max() < 2
