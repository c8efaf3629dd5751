"""What a runtime's graph is written through: one method for each operation of a layer.

`layers` calls these in the order of the computation; a value of type `T` is the runtime's
handle of an intermediate result, [batch, tokens, numbers].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gritlite.graph.matrix import Matrix
from gritlite.graph.tensors import Floats

T = TypeVar("T")


@dataclass(frozen=True)
class FeedForward:
    """A gated feed-forward network: down(silu(gate(x)) * up(x))."""

    gate: Matrix
    up: Matrix
    down: Matrix


class GraphWriter(Protocol[T]):
    """Writes a graph. Its inputs are token embeddings, their lengths, and earlier keys and values.

    Outputs are the final hidden states, and each layer's new keys (after rotation) and values.
    """

    def embeddings(self) -> T:
        """Return the graph's input, [batch, tokens, width]."""

    def rms_norm(self, x: T, weight: Floats, epsilon: float) -> T:
        """Return x / sqrt(mean(x^2) + epsilon) * weight (arXiv 1910.07467)."""

    def linear(self, x: T, matrix: Matrix) -> T:
        """Return x times the matrix, transposed, plus its bias."""

    def attention(self, x: T, layer: int, query: Matrix, key: Matrix, value: Matrix) -> T:
        """Return softmax(q k^T / sqrt(head width)) v of the projections of x, heads joined.

        Queries and keys are rotated. Where there are fewer key-value heads, each serves the
        same number of query heads (arXiv 2305.13245).
        """

    def feed_forward(self, x: T, network: FeedForward) -> T:
        """Return the output of a gated feed-forward network."""

    def mixture(self, x: T, router: Matrix, experts: Sequence[FeedForward], used: int) -> T:
        """Return the outputs of each token's `used` best experts, weighted.

        The weights are the softmax of the router's outputs over the chosen experts
        (arXiv 2401.04088).
        """

    def add(self, left: T, right: T) -> T:
        """Return the sum."""

    def finish(self, hidden: T) -> None:
        """Declare the final hidden states."""
