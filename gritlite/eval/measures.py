"""Measures of embedding tasks as functions of numbers. They know no texts and no models."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation of two equally long lists: -1 to 1.

    Pearson's correlation of the ranks, ties sharing their mean rank, as
    `scipy.stats.spearmanr`. 0 where one list is constant and puts nothing in order.
    """
    deviations = [ranks - ranks.mean() for ranks in (_ranks(first), _ranks(second))]
    norm = np.linalg.norm(deviations[0]) * np.linalg.norm(deviations[1])
    return float(deviations[0] @ deviations[1] / norm) if norm else 0.0


def _ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of the ranks they take up."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def ndcg(found: Sequence[int], judged: Sequence[int], k: int) -> float:
    """Normalized discounted cumulative gain of the first `k` found: 0 to 1.

    `found` are the grades of the found documents, best first, 0 for one that
    was not judged; `judged` all the query's grades. The gain is the grade, the
    discount log2(rank + 1), as in trec_eval's ndcg_cut (Järvelin and Kekäläinen
    2002); grades below 0 gain nothing. 0 for a query without a relevant document.
    """
    best = _gain(sorted(judged, reverse=True)[:k])
    return _gain(found[:k]) / best if best else 0.0


def _gain(grades: Sequence[int]) -> float:
    gains = np.maximum(np.asarray(grades, np.float64), 0)
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


def recall(found: Sequence[int], judged: Sequence[int], k: int) -> float:
    """The part of the relevant documents, those graded above 0, among the first `k` found.

    Arguments as for `ndcg`. 0 for a query without a relevant document, as in trec_eval.
    """
    relevant = sum(grade > 0 for grade in judged)
    return sum(grade > 0 for grade in found[:k]) / relevant if relevant else 0.0
