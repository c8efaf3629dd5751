"""Where teachers' vectors lie among the vectors of the model in training.

A teacher's vectors have other axes than ours, and another number of them. They are first reduced
to no more numbers than ours have, by their principal axes, which keeps their similarities, and
then rotated to where ours are nearest to them: the orthogonal Procrustes problem (Schönemann,
Psychometrika 31, 1966). The module knows nothing of torch, or of what made the vectors.
"""

import numpy as np
from numpy.typing import NDArray

from gritlite.train.axes import principal_axes

TEXTS = 3_000  # that the map is found from, at most


def aligning(teacher: NDArray[np.float32], ours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the map [e, d] that takes a teacher's vectors [n, e] to where ours [n, d] should be.

    Both are of unit length and of the same n texts. Where e is no more than d, the map keeps every
    similarity of the teacher's; where it is more, those of the teacher's first d principal axes.
    """
    wide = teacher.astype(np.float64)
    axes, _ = principal_axes(wide, min(teacher.shape[1], ours.shape[1]))
    left, _, right = np.linalg.svd((wide @ axes).T @ ours, full_matrices=False)
    found: NDArray[np.float32] = (axes @ left @ right).astype(np.float32)
    return found
