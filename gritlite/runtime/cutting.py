"""Cut vectors to a size that the model was trained for.

The first numbers of a vector are kept, or, where the file has axes, those along which vectors vary
most. The module knows neither texts nor models.
"""

import numpy as np
from numpy.typing import NDArray

from gritlite.prompt import EmbedFormat


def cut(
    vectors: NDArray[np.float32], size: int | None, embed_format: EmbedFormat
) -> NDArray[np.float32]:
    """Return vectors [n, d] as vectors of `size` numbers, of unit length; None: as they are."""
    if size is None or size == vectors.shape[1]:
        return vectors
    axes = embed_format.axes
    kept = vectors[:, :size] if axes is None else vectors @ axes[:, :size]
    norms = np.linalg.norm(kept, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.divide(kept, norms, out=kept.copy(), where=norms > 0)
    return scaled
