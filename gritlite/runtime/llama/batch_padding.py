"""Batch padding: the fastest batch size for a number of tokens on a CPU.

ggml's flash attention processes tiles of 64 queries (GGML_FA_TILE_Q of ggml-cpu/common.h).
On the path for smaller batches, each pair of query and key costs more than twice as much. So
with a long KV cache, padding a batch to a full tile is faster; no token attends to the
padding. Both costs were measured relative to the rest of a token's cost (docs/speed.md).
"""

from gritlite.runtime.llama.weights import Weights

TILE = 64
_UNTILED_COST, _TILED_COST = 17.0, 7.0  # per pair of query and key


def padded_count(tokens: int, cached: int, weights: Weights) -> int:
    """Return the number of tokens to evaluate: `tokens`, or a full tile where that is faster.

    `cached` is the number of tokens in the KV cache.
    """
    if tokens >= TILE or weights.on_gpu:
        return tokens
    # attention's multiplications relative to those with weights
    share = cached * weights.n_layer * weights.n_embd / weights.n_params
    untiled = tokens * (1 + _UNTILED_COST * share)
    tiled = TILE * (1 + _TILED_COST * share)
    return TILE if tiled < untiled else tokens
