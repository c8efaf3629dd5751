"""The axes along which vectors vary most, compared with NumPy's singular vectors."""

import numpy as np

from gritlite.train.axes import principal_axes


def test_they_are_the_leading_singular_vectors() -> None:
    random = np.random.default_rng(1)
    vectors = (random.normal(size=(200, 12)) * np.arange(1, 13)).astype(np.float32)
    axes, squares = principal_axes(vectors, 5)
    _, lengths, rows = np.linalg.svd(vectors.astype(np.float64), full_matrices=False)
    expected = rows[:5].T
    np.testing.assert_allclose(squares, lengths[:5] ** 2 / 200)
    np.testing.assert_allclose(np.abs(expected.T @ axes), np.eye(5), atol=2e-3)
    assert (axes[np.abs(axes).argmax(axis=0), np.arange(5)] > 0).all()


def test_fewer_vectors_than_axes_give_some_that_stand_upright_on_each_other() -> None:
    vectors = np.random.default_rng(2).normal(size=(3, 8)).astype(np.float32)
    axes, _ = principal_axes(vectors, 6)
    np.testing.assert_allclose(axes.T @ axes, np.eye(6), atol=2e-3)
