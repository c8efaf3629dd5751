"""Forward and backward of a Llama with adapters, for processors.

transformers' modules compute the same; here less is spent between the matrix products.
Sequences lie packed one after another, without padding. Query, key and value are one
product, and so are gate and up, with their adapters. Products are in the precision of
the weights; the residual stream, norms, rotary embedding and softmax in float32. Every
`Function` below has its derivative written out, so that what is kept for it is known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gritlite.train.attention import Group, Packed, Rows
from gritlite.train.kernels import Kernels


class PackedLlama:
    """The body of a transformers Llama that PEFT gave adapters, without its output head.

    Its frozen matrices are converted to `dtype` and joined; the modules keep views of
    them, so that nothing is held twice. `kernels` compute what lies between the products.
    """

    def __init__(self, body: Any, dtype: torch.dtype, kernels: Kernels) -> None:
        config = body.config
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        heads = Heads(config.num_attention_heads, config.num_key_value_heads, width)
        self._embedding = body.embed_tokens
        self._rotary = body.rotary_emb
        self._layers = [_Layer(layer, dtype, heads, kernels) for layer in body.layers]
        self._norm = body.norm
        self._kernels = kernels

    def __call__(self, packed: Packed) -> Tensor:
        """Final hidden states, float32 [tokens, d]."""
        x = self._embedding(packed.ids)
        cos, sin = self._rotary(x[None], packed.positions[None])
        added = None
        for layer in self._layers:
            x, added = layer(x, added, packed.groups, cos[0], sin[0])
        _, normed = _normed(x, added, self._norm, x.dtype, self._kernels)
        return normed


def is_known(base: Any) -> bool:
    """Whether PackedLlama computes what this transformers model does."""
    config = base.config
    return bool(
        config.model_type == "llama"
        and config.hidden_act == "silu"
        and not config.attention_bias
        and not config.mlp_bias
        # these depend on the longest sequence of a pass, and ours are others
        and base.model.rotary_emb.rope_type not in ("dynamic", "longrope")
    )


@dataclass(frozen=True)
class Heads:
    """Numbers of query heads and of key and value heads, and the width of each."""

    queries: int
    keys: int
    width: int


class _Layer:
    def __init__(self, layer: Any, dtype: torch.dtype, heads: Heads, kernels: Kernels) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._dtype, self._heads, self._kernels = dtype, heads, kernels
        self._norms = layer.input_layernorm, layer.post_attention_layernorm
        self._qkv = _Joined([attention.q_proj, attention.k_proj, attention.v_proj], dtype)
        self._output = _Joined([attention.o_proj], dtype)
        self._gate_up = _Joined([mlp.gate_proj, mlp.up_proj], dtype)
        self._down = _Joined([mlp.down_proj], dtype)

    def __call__(
        self, x: Tensor, added: Tensor | None, groups: Sequence[Group], cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The residual stream behind attention, and what is to be added to it."""
        before, behind = self._norms
        x, normed = _normed(x, added, before, self._dtype, self._kernels)
        attended = _Attention.apply(self._qkv(normed), cos, sin, self._heads, groups, self._kernels)
        x, normed = _normed(x, self._output(attended), behind, self._dtype, self._kernels)
        return x, self._down(_Gated.apply(self._gate_up(normed), self._kernels))


class _Joined:
    """Linear layers of one input, whose outputs lie side by side, with their adapters."""

    def __init__(self, layers: Sequence[Any], dtype: torch.dtype) -> None:
        self._layers = layers
        weights = [layer.base_layer.weight for layer in layers]
        self._weight = torch.cat([weight.detach().to(dtype) for weight in weights])
        parts = self._weight.split([len(weight) for weight in weights])
        for layer, part in zip(layers, parts, strict=True):
            layer.base_layer.weight = torch.nn.Parameter(part, requires_grad=False)

    def __call__(self, x: Tensor) -> Tensor:
        down = torch.cat([layer.lora_A["default"].weight for layer in self._layers])
        up = torch.block_diag(
            *(layer.lora_B["default"].weight * layer.scaling["default"] for layer in self._layers)
        )
        product: Tensor = _Adapted.apply(x, self._weight, down.to(x.dtype), up.to(x.dtype))
        return product


class _Adapted(Function):  # type: ignore[misc]
    """`x` [t, k] times a frozen `weight` [n, k], plus `x` through `down` [r, k] and `up` [n, r]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
        narrow = x @ down.T
        ctx.save_for_backward(x, narrow, weight, down, up)
        return (x @ weight.T).addmm_(narrow, up.T)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, narrow, weight, down, up = ctx.saved_tensors
        (dy,) = gradients
        dnarrow = dy @ up
        dx = (dy @ weight).addmm_(dnarrow, down) if ctx.needs_input_grad[0] else None
        return dx, None, dnarrow.T @ x, dy.T @ narrow


def _normed(
    x: Tensor, added: Tensor | None, module: Any, dtype: torch.dtype, kernels: Kernels
) -> tuple[Tensor, Tensor]:
    """`x` with what is `added` to it, and the norm of that."""
    found: tuple[Tensor, Tensor] = _Norm.apply(
        x, added, module.weight, module.variance_epsilon, dtype, kernels
    )
    return found


class _Norm(Function):  # type: ignore[misc]
    """The residual stream `x` float32 [t, d] with an addition, and its RMS norm as `dtype`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        added: Tensor | None,
        weight: Tensor,
        epsilon: float,
        dtype: torch.dtype,
        kernels: Kernels,
    ) -> tuple[Tensor, Tensor]:
        total, normed, scale = kernels.norm(x, added, weight, epsilon, dtype)
        ctx.save_for_backward(total, weight, scale)
        ctx.kernels = kernels
        return total, normed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        total, weight, scale = ctx.saved_tensors
        dx, dadded = ctx.kernels.norm_backward(*gradients, total, weight, scale)
        return dx, dadded if ctx.needs_input_grad[1] else None, None, None, None, None


class _Gated(Function):  # type: ignore[misc]
    """`silu(gate) * up` of [t, gate and up]."""

    @staticmethod
    def forward(ctx: Any, both: Tensor, kernels: Kernels) -> Tensor:
        ctx.save_for_backward(both)
        ctx.kernels = kernels
        return kernels.gated(both)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (both,) = ctx.saved_tensors
        (dy,) = gradients
        return ctx.kernels.gated_backward(both, dy), None


class _Attention(Function):  # type: ignore[misc]
    """Grouped attention of `qkv` [t, heads of queries, keys, values], with rotary embedding.

    Explicit products, and a softmax in float32: on processors the backward pass of
    torch's fused attention has a fifteenth of their speed. Queries that share a key
    head are rows of one product with it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        cos: Tensor,
        sin: Tensor,
        heads: Heads,
        groups: Sequence[Group],
        kernels: Kernels,
    ) -> Tensor:
        rotated = kernels.rotated(qkv, cos, sin, heads.queries, heads.keys)
        kept: list[Tensor] = []
        output = torch.empty_like(rotated[:, : heads.queries])
        for group in groups:
            q, k, v = _by_head(group, rotated, heads)
            scores = torch.bmm(q, k.mT)
            lengths = group.queries.length, group.keys.length
            by_sequence = scores.view(group.keys.sequences, -1, *lengths)
            shares = kernels.shares(by_sequence, group.bias).view(scores.shape)
            output[group.queries.rows] = _to_rows(
                group.queries, torch.bmm(shares, v), heads.queries
            )
            kept += (q, k, v, shares)
        ctx.save_for_backward(cos, sin, *kept)
        ctx.heads, ctx.groups, ctx.kernels = heads, groups, kernels
        return output.flatten(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin, *kept = ctx.saved_tensors
        heads = ctx.heads
        dy = gradients[0].view(len(cos), -1, heads.width)
        drotated = dy.new_zeros(len(cos), heads.queries + 2 * heads.keys, heads.width)
        dqueries, dkeys, dvalues = drotated.split([heads.queries, heads.keys, heads.keys], dim=1)
        for number, group in enumerate(ctx.groups):
            q, k, v, shares = kept[4 * number : 4 * number + 4]
            do = _head_rows(group.queries, group.queries.zero_padded(dy), heads.keys)
            dscores = ctx.kernels.shares_backward(torch.bmm(do, v.mT), shares)
            dqueries[group.queries.rows] = _to_rows(
                group.queries, torch.bmm(dscores, k), heads.queries
            )
            for sums, found in (
                (dkeys, torch.bmm(dscores.mT, q)),
                (dvalues, torch.bmm(shares.mT, do)),
            ):
                sums.index_add_(0, group.keys.rows, _to_rows(group.keys, found, heads.keys))
        dqkv = ctx.kernels.rotated_backward(drotated, cos, sin, heads.queries, heads.keys)
        return dqkv, None, None, None, None, None


def _by_head(group: Group, rotated: Tensor, heads: Heads) -> Iterator[Tensor]:
    """A group's queries, keys and values, [sequences * key heads, rows, width] each."""
    yield _head_rows(group.queries, group.queries.padded(rotated[:, : heads.queries]), heads.keys)
    both = group.keys.padded(rotated[:, heads.queries :])
    for part in both.split(heads.keys, dim=1):
        yield _head_rows(group.keys, part, heads.keys)


def _head_rows(rows: Rows, padded: Tensor, keys: int) -> Tensor:
    """Rows of a key head: [sequences * length, heads, width] to [sequences * keys, rows, width]."""
    width = padded.shape[-1]
    by_key = padded.view(rows.sequences, rows.length, keys, -1, width).permute(0, 2, 3, 1, 4)
    return by_key.reshape(rows.sequences * keys, -1, width)


def _to_rows(rows: Rows, by_head: Tensor, heads: int) -> Tensor:
    """Back from `_head_rows`, without the padding: [rows, heads, width]."""
    width = by_head.shape[-1]
    padded = by_head.view(rows.sequences, heads, rows.length, width).transpose(1, 2)
    return rows.unpadded(padded.reshape(-1, heads, width))
