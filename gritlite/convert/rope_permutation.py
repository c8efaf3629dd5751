"""Permute the rows of query and key projections for llama.cpp's rotary embedding.

Rotary embedding rotates pairs of values. In a checkpoint the two values of a pair are
half a head apart, and llama.cpp's qwen2 graph expects that; its llama graph expects
neighbours.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def heads_to_permute(projection: str, architecture: str, heads: int, kv_heads: int) -> int | None:
    """Return the number of heads in a projection (`attn_q`, ...); None if it is not permuted."""
    if architecture != "llama":
        return None
    return {"attn_q": heads, "attn_k": kv_heads}.get(projection)


def permute_heads(matrix: NDArray[Any], head_rows: int) -> NDArray[Any]:
    """Interleave the two halves of each head's rows.

    `matrix` has the rows of whole heads of `head_rows` rows each. Source:
    LlamaModel.permute in llama.cpp's conversion/llama.py.
    """
    halves = matrix.reshape(-1, 2, head_rows // 2, *matrix.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(matrix.shape)
