"""The formulas against scipy's and scikit-learn's; tests/oracle/test_mteb.py has trec_eval's."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from gritlite.eval.measures import ndcg, recall, spearman

GRADES = st.lists(st.integers(0, 4), min_size=2, max_size=30)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(-1, 1)), min_size=2, max_size=40))
def test_spearman_is_scipys(pairs: list[tuple[int, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert spearman(first, second) == 0
    else:
        expected = scipy.stats.spearmanr(first, second).statistic
        assert spearman(first, second) == pytest.approx(expected, abs=1e-12)


@given(GRADES, st.integers(1, 12))
def test_ndcg_is_scikit_learns(grades: list[int], k: int) -> None:
    order = -np.arange(len(grades))  # as they stand
    expected = sklearn.metrics.ndcg_score([grades], [order], k=k)
    assert ndcg(grades, grades, k) == pytest.approx(expected, abs=1e-12)


def test_what_was_judged_but_not_found_lowers_ndcg() -> None:
    best = 3 + 2 / math.log2(3) + 1 / 2
    assert ndcg([2, 0, 0, 1], [1, 2, 3], k=3) == pytest.approx(2 / best)
    assert ndcg([0, 0, 3], [3], k=2) == 0


def test_grades_below_zero_gain_nothing() -> None:
    assert ndcg([-1, 2], [2, -1], k=10) == pytest.approx(1 / math.log2(3))
    assert recall([-1, 2], [2, -1, 1], k=10) == 0.5


def test_recall_counts_what_is_graded_above_zero() -> None:
    assert recall([1, 0, 3, 2], [3, 2, 1, 1, 0], k=3) == 0.5
    assert recall([0, 1], [1], k=1) == 0


def test_queries_without_a_relevant_document_score_zero() -> None:
    assert ndcg([0, 0], [0], k=10) == 0
    assert recall([0, 0], [0], k=10) == 0
