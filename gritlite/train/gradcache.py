"""Gradients of a loss over many vectors, in the memory of a few.

Source: "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup" (arXiv 2101.06983): embed everything without a graph, take the loss's
gradient at the vectors, then embed part by part with a graph and push that
gradient through. The sum is the gradient of the whole.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gritlite.train.attention import by_length
from gritlite.train.tokens import EmbedTokens

Encode = Callable[[Sequence[EmbedTokens]], Tensor]


def backward(
    encode: Encode, texts: Sequence[EmbedTokens], loss_of: Callable[[Tensor], Tensor], most: int
) -> float:
    """Add the gradient of `loss_of(encode(texts))` to the parameters; returns the loss.

    No graph covers more than about `most` tokens. This costs an extra forward pass,
    except when everything fits one graph.
    """
    parts = _parts(texts, most)
    if len(parts) == 1:
        loss = loss_of(encode(texts))
        loss.backward()
        return float(loss.detach())
    with torch.no_grad():
        vectors = torch.cat([encode([texts[i] for i in part]) for part in parts])
    order = torch.tensor([place for part in parts for place in part], device=vectors.device)
    leaf = vectors[order.argsort()].requires_grad_()
    loss = loss_of(leaf)
    loss.backward()
    assert leaf.grad is not None
    for part in parts:
        encode([texts[i] for i in part]).backward(leaf.grad[part])
    return float(loss.detach())


def _parts(texts: Sequence[EmbedTokens], most: int) -> list[list[int]]:
    if sum(len(text.ids) for text in texts) <= most:
        return [list(range(len(texts)))]
    return by_length([len(text.ids) for text in texts], most)
