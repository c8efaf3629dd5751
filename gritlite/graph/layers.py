"""A model's layers, from token embeddings to final hidden states, for any graph writer.

Source: llama.cpp's src/models/llama.cpp (`llm_build_llama`) and qwen2.cpp, without the output
matrix. The module does not know runtimes or number formats.
"""

from collections.abc import Iterator
from typing import TypeVar

from gritlite.graph.matrix import Matrix
from gritlite.graph.network import Network
from gritlite.graph.tensors import Tensors
from gritlite.graph.writer import FeedForward, GraphWriter

T = TypeVar("T")


_ATTENDING = ("attn_q", "attn_k", "attn_v")
_BEHIND_NORMS = (*_ATTENDING, "ffn_gate", "ffn_up")


def write_layers(network: Network, tensors: Tensors, writer: GraphWriter[T]) -> Iterator[int]:
    """Write the graph of a model; yield the number of layers written so far after each."""

    def matrix(name: str, expert: int | None = None) -> Matrix:
        _, layer, part = name.split(".")
        return Matrix(
            tensors,
            (name,),
            expert,
            per_token=not part.startswith(_BEHIND_NORMS),
            precise=_is_precise(part, int(layer), network.layers),
        )

    def norm(x: T, name: str) -> T:
        return writer.rms_norm(x, tensors.floats(f"{name}.weight"), network.epsilon)

    x = writer.embeddings()
    for layer in range(network.layers):
        prefix = f"blk.{layer}."
        projections = (matrix(f"{prefix}attn_{letter}") for letter in "qkv")
        attended = writer.attention(norm(x, f"{prefix}attn_norm"), layer, *projections)
        x = writer.add(x, writer.linear(attended, matrix(f"{prefix}attn_output")))
        inner = norm(x, f"{prefix}ffn_norm")
        if network.experts:
            experts = [
                FeedForward(
                    *(
                        matrix(f"{prefix}ffn_{part}_exps", expert=expert)
                        for part in ("gate", "up", "down")
                    )
                )
                for expert in range(network.experts)
            ]
            router = matrix(f"{prefix}ffn_gate_inp")
            added = writer.mixture(inner, router, experts, network.experts_used)
        else:
            parts = (matrix(f"{prefix}ffn_{part}") for part in ("gate", "up", "down"))
            added = writer.feed_forward(inner, FeedForward(*parts))
        x = writer.add(x, added)
        yield layer + 1
    writer.finish(norm(x, "output_norm"))


def _is_precise(part: str, layer: int, layers: int) -> bool:
    """Return whether a product's errors count most, because all later layers carry them on.

    Found by measuring (docs/speed.md): `ffn_down` of the first layer, where a token's massive
    activation arises, and what attends in the first fifth of the layers.
    """
    is_first_down = layer == 0 and part.startswith("ffn_down")
    return is_first_down or (layer < layers / 5 and part.startswith(_ATTENDING))
