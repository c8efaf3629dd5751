"""Gradients of a loss over a whole batch, computed in parts: side by side, and in little memory.

A batch that fits one graph is divided among the threads of `Workers`. A larger one goes through
gradient caching, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (arXiv
2101.06983): embed everything without a graph, take the loss's gradient at the vectors, then embed
part by part with a graph and push that gradient through. The sum is the gradient of the whole.

Token losses need no first pass: the loss is linear in them, so the gradient at each
is known in advance.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from gritlite.train.attention import by_length
from gritlite.train.tokens import EmbedTokens, GenerateTokens
from gritlite.train.workers import Workers

Encode = Callable[[Sequence[EmbedTokens]], Tensor]
TokenLosses = Callable[[Sequence[GenerateTokens]], list[Tensor]]
Reduce = Callable[[Sequence[Tensor]], Tensor]


class Gradients:
    """Adds gradients to `parameters`, with graphs of about `most` tokens at once, by `workers`."""

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], most: int, workers: Workers
    ) -> None:
        self._parameters = list(parameters)
        self._most = most
        self._workers = workers

    def of_vectors(
        self,
        encode: Encode,
        texts: Sequence[EmbedTokens],
        loss_of: Callable[[Tensor], Tensor],
    ) -> float:
        """Add the gradient of `loss_of(encode(texts))`; returns the loss.

        Gradient caching costs an extra forward pass.
        """
        lengths = [len(text.ids) for text in texts]
        parts = self._parts(lengths)
        caches = sum(lengths) > self._most

        def embed(part: list[int]) -> Tensor:
            with torch.set_grad_enabled(not caches):
                return encode([texts[place] for place in part])

        vectors = list(self._workers.map(embed, parts))
        order = torch.tensor([place for part in parts for place in part], device=vectors[0].device)
        leaf = torch.cat([one.detach() for one in vectors])[order.argsort()].requires_grad_()
        loss = loss_of(leaf)
        loss.backward()
        gradient = _gradient(leaf)

        def push(number: int) -> tuple[Tensor, ...]:
            part = parts[number]
            found = encode([texts[place] for place in part]) if caches else vectors[number]
            return self._gradients(found, gradient[part])

        self._add(self._workers.map(push, range(len(parts))))
        return float(loss.detach())

    def of_tokens(
        self,
        token_losses: TokenLosses,
        samples: Sequence[GenerateTokens],
        reduce: Reduce,
        weight: float,
    ) -> float:
        """Add the gradient of `weight * reduce(token_losses(samples))`; returns it unweighted.

        `reduce` is linear in the losses.
        """
        parts = self._parts([len(sample.ids) for sample in samples])
        leaves = [torch.zeros(sum(sample.loss), requires_grad=True) for sample in samples]
        reduce(leaves).backward()

        def push(part: list[int]) -> tuple[float, tuple[Tensor, ...]]:
            losses = torch.cat(token_losses([samples[place] for place in part]))
            shares = torch.cat([_gradient(leaves[place]) for place in part]).to(losses.device)
            loss = (losses * shares).sum()
            return float(loss.detach()), self._gradients(weight * loss, None)

        found = list(self._workers.map(push, parts))
        self._add(gradients for _, gradients in found)
        return sum(loss for loss, _ in found)

    def _parts(self, lengths: Sequence[int]) -> list[list[int]]:
        """Which sequences each graph takes; each worker holds one at a time."""
        if sum(lengths) <= self._most:
            return self._workers.split(lengths)
        return by_length(lengths, self._most // self._workers.count)

    def _gradients(self, found: Tensor, above: Tensor | None) -> tuple[Tensor, ...]:
        gradients: tuple[Tensor, ...] = torch.autograd.grad(found, self._parameters, above)
        return gradients

    def _add(self, found: Iterable[tuple[Tensor, ...]]) -> None:
        """Add the parts' gradients, in their order: the sum has the same bits every time."""
        for gradients in found:
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                if parameter.grad is None:
                    parameter.grad = gradient
                else:
                    parameter.grad += gradient


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad
