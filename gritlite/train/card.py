"""How much of a batch a GPU holds at once: measured, not computed from the model's shape."""

import torch

from gritlite.train.model import AdaptedModel
from gritlite.train.tokens import EmbedTokens, GenerateTokens

SHARE = 0.5  # of the free memory; the rest is for the optimizer, odd lengths and fragmentation
_TEXTS, _TOKENS = 8, 256  # that are measured


def graph_tokens(model: AdaptedModel) -> int:
    """Return how many tokens' graph fits into free memory, for `memory.graph_tokens`.

    On a processor this is the model's own. No gradients are left behind.
    """
    if model.device.type != "cuda":
        return model.graph_tokens
    free, _ = torch.cuda.mem_get_info(model.device)
    return fitting(free, max(_embedding(model), _generating(model)), _TEXTS * _TOKENS)


def fitting(free: int, used: int, tokens: int) -> int:
    """Return how many tokens fit into SHARE of `free` bytes if `tokens` tokens took `used`."""
    return int(free * SHARE / max(1, used) * tokens)


def _embedding(model: AdaptedModel) -> int:
    ids = tuple(range(_TOKENS))
    before = _settled(model)
    model.vectors([EmbedTokens(ids, 1)] * _TEXTS).sum().backward()
    return _peak(model) - before


def _generating(model: AdaptedModel) -> int:
    ids, loss = tuple(range(_TOKENS)), (False,) + (True,) * (_TOKENS - 1)
    before = _settled(model)
    torch.cat(model.token_losses([GenerateTokens(ids, loss)] * _TEXTS)).sum().backward()
    return _peak(model) - before


def _settled(model: AdaptedModel) -> int:
    """Return the bytes in use, after freeing what earlier work left."""
    _forget(model)
    torch.cuda.reset_peak_memory_stats(model.device)
    return int(torch.cuda.memory_allocated(model.device))


def _peak(model: AdaptedModel) -> int:
    _forget(model)
    return int(torch.cuda.max_memory_allocated(model.device))


def _forget(model: AdaptedModel) -> None:
    for parameter in model.parameters.values():
        parameter.grad = None
