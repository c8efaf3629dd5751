"""The order in which llama.cpp wants the rows of what it rotates.

A checkpoint has the two halves of a head that rotate together one after the
other; llama.cpp's llama graph rotates neighbours, its qwen2 graph halves.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def heads_to_permute(projection: str, architecture: str, heads: int, kv_heads: int) -> int | None:
    """How many heads the rows of a projection (`attn_q`, ...) hold; None to leave them alone."""
    if architecture != "llama":
        return None
    return {"attn_q": heads, "attn_k": kv_heads}.get(projection)


def permute_heads(matrix: NDArray[Any], head_rows: int) -> NDArray[Any]:
    """The rows of whole heads, the halves of each made neighbours.

    Source: LlamaModel.permute in llama.cpp's conversion/llama.py.
    """
    halves = matrix.reshape(-1, 2, head_rows // 2, *matrix.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(matrix.shape)
