"""The axes by which vectors are cut: those along which a model's vectors vary most.

They are the eigenvectors of the vectors' second moments, as in a principal component analysis
without centring: a rotation, so that cosines of whole vectors stay as they are, and cosines of
the first coordinates are the nearest to them that any such projection gives.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.adapter import AXES
from gritlite.system.files import atomic_write

TEXTS = 1_500  # that the axes are found from, at most


def principal_axes(vectors: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """Return the first `count` axes of vectors [n, d] as the columns of a matrix [d, count].

    Each axis has its largest number positive, so that the same vectors give the same axes.
    """
    wide = vectors.astype(np.float64)
    axes: NDArray[np.float64] = np.linalg.eigh(wide.T @ wide)[1][:, : -count - 1 : -1]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(count)]
    signed: NDArray[np.float64] = axes * np.sign(largest)
    return signed


def write_axes(adapter: Path, axes: NDArray[np.floating]) -> None:
    """Write axes [d, count] as float16 into an adapter's folder. Raises FileError if it cannot."""
    with atomic_write(adapter / AXES, force=True) as file:
        np.save(file, axes.astype(np.float16), allow_pickle=False)
