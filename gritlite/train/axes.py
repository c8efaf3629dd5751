"""The axes along which vectors vary most: a principal component analysis without centring.

The module knows nothing of texts or models.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def principal_axes(vectors: NDArray[np.floating], count: int) -> tuple[Floats, Floats]:
    """Return the first `count` axes of vectors [n, d], and the mean square along each.

    The axes are the columns of a matrix [d, count], the eigenvectors of the vectors' second
    moments. Each has its largest number positive, so that the same vectors give the same axes.
    """
    wide = vectors.astype(np.float64)
    squares, axes = np.linalg.eigh(wide.T @ wide / len(wide))
    squares, axes = squares[::-1][:count], axes[:, ::-1][:, :count]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(count)]
    return axes * np.sign(largest), squares
