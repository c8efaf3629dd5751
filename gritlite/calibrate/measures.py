"""Distances between the outputs of two models, computed from their arrays."""

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10
# people hardly notice a difference up to these (docs/quantization.md)
GOOD_COSINE, GOOD_KL = 0.99, 0.05

Floats = NDArray[np.float32]


def cosines(one: Floats, other: Floats) -> NDArray[np.float64]:
    """Return the cosine of each row of `one` and the same row of `other` [n, d], float64 [n]."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    found: NDArray[np.float64] = (a * b).sum(axis=1)
    found /= np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return found


def neighbour_agreement(one: Floats, other: Floats) -> float:
    """Return the mean share of each row's nearest neighbours that both arrays have in common.

    Rows [n, d] have unit length. Ten neighbours count, or all other rows if n is below 11.
    """
    count = min(NEIGHBOURS, len(one) - 1)
    if count < 1:
        return 1.0
    found = [_nearest(vectors, count) for vectors in (one, other)]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*found, strict=True)]
    return float(np.mean(shared)) / count


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Return natural log-probabilities of each row of logits, float64 [n, vocabulary]."""
    shifted: NDArray[np.float64] = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def divergence(
    reference: NDArray[np.float64], candidate: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the Kullback-Leibler divergence of each row of log-probabilities in nats [n]."""
    found: NDArray[np.float64] = (np.exp(reference) * (reference - candidate)).sum(axis=1)
    return found


def _nearest(vectors: Floats, count: int) -> NDArray[np.int64]:
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -np.inf)
    return np.argpartition(-similarities, count - 1, axis=1)[:, :count]
