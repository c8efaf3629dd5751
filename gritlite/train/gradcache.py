"""Gradient caching: gradients of a loss over many vectors, in the memory of a few.

Source: "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup" (arXiv 2101.06983): embed everything without a graph, take the loss's
gradient at the vectors, then embed part by part with a graph and push that
gradient through. The sum is the gradient of the whole.

Token losses need no first pass: the loss is linear in them, so the gradient at each
is known in advance.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gritlite.train.attention import by_length
from gritlite.train.tokens import EmbedTokens, GenerateTokens

Encode = Callable[[Sequence[EmbedTokens]], Tensor]
TokenLosses = Callable[[Sequence[GenerateTokens]], list[Tensor]]


def backward(
    encode: Encode, texts: Sequence[EmbedTokens], loss_of: Callable[[Tensor], Tensor], most: int
) -> float:
    """Add the gradient of `loss_of(encode(texts))` to the parameters; returns the loss.

    No graph covers more than about `most` tokens. This costs an extra forward pass,
    except when everything fits one graph.
    """
    parts = _parts([len(text.ids) for text in texts], most)
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
    gradient = _gradient(leaf)
    for part in parts:
        encode([texts[i] for i in part]).backward(gradient[part])
    return float(loss.detach())


def backward_tokens(
    token_losses: TokenLosses,
    samples: Sequence[GenerateTokens],
    reduce: Callable[[Sequence[Tensor]], Tensor],
    weight: float,
    most: int,
) -> float:
    """Add the gradient of `weight * reduce(token_losses(samples))`; returns it without the weight.

    `reduce` is linear in the losses. No graph holds more than about `most` tokens.
    """
    parts = _parts([len(sample.ids) for sample in samples], most)
    if len(parts) == 1:
        loss = reduce(token_losses(samples))
        (weight * loss).backward()
        return float(loss.detach())
    leaves = [torch.zeros(sum(sample.loss), requires_grad=True) for sample in samples]
    reduce(leaves).backward()
    total = 0.0
    for part in parts:
        losses = torch.cat(token_losses([samples[place] for place in part]))
        shares = torch.cat([_gradient(leaves[place]) for place in part]).to(losses.device)
        loss = (losses * shares).sum()
        (weight * loss).backward()
        total += float(loss.detach())
    return total


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


def _parts(lengths: Sequence[int], most: int) -> list[list[int]]:
    if sum(lengths) <= most:
        return [list(range(len(lengths)))]
    return by_length(lengths, most)
