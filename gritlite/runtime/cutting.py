"""Cut vectors to a size that the model was trained for: the first numbers, of unit length again.

The module knows neither texts nor models.
"""

import numpy as np
from numpy.typing import NDArray


def cut(vectors: NDArray[np.float32], size: int | None) -> NDArray[np.float32]:
    """Return vectors [n, d] as vectors of `size` numbers, of unit length; None: as they are."""
    if size is None or size == vectors.shape[1]:
        return vectors
    kept = vectors[:, :size]
    norms = np.linalg.norm(kept, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.divide(kept, norms, out=kept.copy(), where=norms > 0)
    return scaled
