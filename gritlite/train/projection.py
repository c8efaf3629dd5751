"""The projection of a model that was trained: what its vectors are multiplied by.

Its columns are the principal axes of the model's own vectors, so that the first numbers of a
vector keep most of it when it is cut. They may be whitened in part ("Whitening Sentence
Representations", arXiv 2103.15316): many texts have the first axes in common, so that these tell
less of a text than their lengths say. A training that goes on from a model with a projection keeps
it, and multiplies it by what it finds. The module knows nothing of texts, or of what made vectors.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gritlite.convert.adapter import PROJECTION
from gritlite.system.files import atomic_write
from gritlite.train.axes import Floats, principal_axes

TEXTS = 4_000  # that a projection is found from, at most


def find_projection(vectors: NDArray[np.floating], whitening: float) -> Floats:
    """Return the projection [d, d] of vectors [n, d] of unit length.

    Column i is the i-th principal axis, divided by the root of the mean square along it to the
    power of `whitening`: at 0 the projection is a rotation, and cosines stay as they are; at 1
    the projected vectors vary alike along all axes, but for the following. Few vectors tell
    little of the last axes, so another d vectors that vary alike along all are assumed. The
    first column has unit length.
    """
    count, width = vectors.shape
    axes, squares = principal_axes(vectors, width)
    expected = (count * squares + width * squares.mean()) / (count + width)
    scaled: Floats = axes * (expected / expected[0]) ** (-whitening / 2)
    return scaled


def write_projection(adapter: Path, projection: NDArray[np.floating]) -> None:
    """Write a projection as float16 into an adapter's folder. Raises FileError if it cannot."""
    with atomic_write(adapter / PROJECTION, force=True) as file:
        np.save(file, projection.astype(np.float16), allow_pickle=False)
