"""How many tokens a batch is best evaluated as, on a processor.

ggml's flash attention takes 64 queries at a time (GGML_FA_TILE_Q of ggml-cpu/common.h); smaller
batches take a path on which a query and a cell cost more than twice as much. Behind many cells a
batch of somewhat fewer tokens is faster when it is padded with tokens that nothing sees.
The two costs were measured, as parts of what the rest of a token costs (docs/speed.md).
"""

from gritlite.runtime.llama.weights import Weights

TILE = 64
_FEW, _TILED = 17.0, 7.0  # of a query and cell, by how it is computed


def padded_count(tokens: int, cells: int, weights: Weights) -> int:
    """The number of tokens to evaluate: `tokens`, or 64 where padding to a full tile is faster."""
    if tokens >= TILE or weights.on_gpu:
        return tokens
    # the multiplications of attention beside those with weights
    share = cells * weights.n_layer * weights.n_embd / weights.n_params
    alone = tokens * (1 + _FEW * share)
    tiled = TILE * (1 + _TILED * share)
    return TILE if tiled < alone else tokens
