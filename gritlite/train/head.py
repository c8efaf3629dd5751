"""The output head and its cross-entropy, a piece of the positions at a time.

Logits take a vocabulary's width for each position, so they are never kept: a piece's gradient
is made with its loss, for it is linear in what comes from above.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

PIECE = 256  # positions


def cross_entropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    imitated: Tensor | None = None,
    imitation: float = 0.0,
) -> Tensor:
    """The cross-entropy of each of `targets` [n], in nats: float32 [n].

    `hidden` is float32 [n, d]. The frozen `head` [vocabulary, d] gives the precision of
    the products; the softmax is in float32. With the hidden states `imitated` [n, d], which
    get no gradient, `imitation` of each loss is the Kullback-Leibler divergence of the
    distribution after `hidden` from that after `imitated`.
    """
    losses: Tensor = _CrossEntropy.apply(hidden, head, targets, imitated, imitation)
    return losses


class _CrossEntropy(Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        imitated: Tensor | None,
        imitation: float,
    ) -> Tensor:
        losses = torch.empty(len(hidden), device=hidden.device)
        slopes = torch.empty_like(hidden)
        for start in range(0, len(hidden), PIECE):
            piece = slice(start, start + PIECE)
            logs = _log_shares(hidden[piece], head)
            losses[piece] = (imitation - 1) * logs.gather(1, targets[piece, None])[:, 0]
            weights: Tensor | None = None
            if imitated is not None:
                others = _log_shares(imitated[piece], head)
                weights = others.exp() * imitation
                losses[piece] += (weights * (others - logs)).sum(dim=1)
            if ctx.needs_input_grad[0]:
                shares = logs.exp_()
                shares[torch.arange(len(shares)), targets[piece]] -= 1 - imitation
                if weights is not None:
                    shares -= weights
                slopes[piece] = shares.to(head.dtype) @ head
        ctx.save_for_backward(slopes)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradients[0][:, None], None, None, None, None


def _log_shares(hidden: Tensor, head: Tensor) -> Tensor:
    """The logarithms of the vocabulary's probabilities after hidden states, float32."""
    return functional.log_softmax((hidden.to(head.dtype) @ head.T).float(), dim=1)
