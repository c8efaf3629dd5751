"""Aligning a teacher's vectors with ours: what the map keeps, and a rotation that is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gritlite.train.alignment import aligning


def unit(count: int, width: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rotation(width: int, seed: int) -> NDArray[np.float64]:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def test_a_teacher_that_is_ours_turned_is_turned_back() -> None:
    ours = unit(60, 12, 1)
    teacher = (ours @ rotation(12, 2)).astype(np.float32)
    np.testing.assert_allclose(teacher @ aligning(teacher, ours, 0), ours, atol=1e-5)


@pytest.mark.parametrize("width", [7, 12])
def test_similarities_of_a_teacher_that_is_no_wider_stay(width: int) -> None:
    teacher, ours = unit(60, width, 3), unit(60, 12, 4)
    found = teacher @ aligning(teacher, ours, 0)
    assert found.shape == (60, 12)
    np.testing.assert_allclose(found @ found.T, teacher @ teacher.T, atol=1e-5)


def test_a_wider_teacher_keeps_what_its_first_principal_axes_hold() -> None:
    hidden = unit(60, 12, 5)
    teacher = (hidden @ rotation(20, 6)[:12]).astype(np.float32)  # 20 wide, of 12 dimensions
    found = teacher @ aligning(teacher, unit(60, 12, 7), 0)
    np.testing.assert_allclose(found @ found.T, hidden @ hidden.T, atol=1e-5)


def test_no_other_rotation_brings_the_teacher_nearer() -> None:
    teacher, ours = unit(60, 8, 8), unit(60, 8, 9)
    best = np.square(teacher @ aligning(teacher, ours, 0) - ours).sum()
    for seed in range(20):
        assert np.square(teacher @ rotation(8, seed) - ours).sum() > best


def test_a_whitened_teachers_vectors_vary_alike_along_all_axes() -> None:
    uneven = unit(5_000, 8, 10) * np.arange(1, 9, dtype=np.float32)
    teacher = uneven / np.linalg.norm(uneven, axis=1, keepdims=True)
    found = teacher @ aligning(teacher, unit(5_000, 8, 11), 1)
    moments = found.T @ found
    np.testing.assert_allclose(moments / moments[0, 0], np.eye(8), atol=0.05)
