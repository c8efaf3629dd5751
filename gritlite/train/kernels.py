"""What a layer computes between its matrix products, as plain functions of tensors.

Eager torch takes one pass over memory for each operation. `torch.compile` fuses a function into
one pass, several times as fast; it needs a C++ compiler on the machine. Both compute in float32
and round where a result is returned. The module knows nothing of layers, weights or autograd.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

# kinds of sizes (one sequence or several, with documents or without) that get code of their own
_VARIANTS = 64
_OPTIONS: dict[str, Any] = {"cpp_wrapper": True}  # lets other threads of Python run meanwhile
_log = logging.getLogger(__name__)


def norm(
    x: Tensor, added: Tensor | None, weight: Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Add to the residual stream and take its RMS norm.

    `x` is float32 [t, d], `added` [t, d] or None. Returns the sum float32 [t, d], its norm as
    `dtype`, and the scale of each row float32 [t, 1].
    """
    total = x if added is None else x + added.float()
    scale = (total.square().mean(dim=1, keepdim=True) + epsilon).rsqrt()
    return total, (total * scale * weight).to(dtype), scale


def norm_backward(
    through: Tensor, dnormed: Tensor, total: Tensor, weight: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient of the sum, float32 and as `dnormed`'s type.

    `through` float32 [t, d] comes past the norm, `dnormed` [t, d] through it.
    """
    dy = dnormed.float() * weight
    along = (dy * total).mean(dim=1, keepdim=True) * scale**3
    dx = through + dy * scale - total * along
    return dx, dx.to(dnormed.dtype)


def gated(both: Tensor) -> Tensor:
    """`silu(gate) * up` of [t, gate and up]."""
    gate, up = both.float().chunk(2, dim=1)
    return (torch.sigmoid(gate) * gate * up).to(both.dtype)


def gated_backward(both: Tensor, dy: Tensor) -> Tensor:
    """The gradient of `gate and up`."""
    gate, up = both.float().chunk(2, dim=1)
    share = torch.sigmoid(gate)
    rows = dy.float()
    dgate = rows * up * share * (1 + gate * (1 - share))
    return torch.cat([dgate.to(both.dtype), (rows * share * gate).to(both.dtype)], dim=1)


def rotated(qkv: Tensor, cos: Tensor, sin: Tensor, queries: int, keys: int) -> Tensor:
    """Queries scaled and rotated, keys rotated, values as they are: [t, heads, width].

    `qkv` is [t, heads of queries, keys, values], `cos` and `sin` [t, width].
    """
    split = qkv.view(len(qkv), -1, cos.shape[1])
    turned = _turned(split[:, : queries + keys].float(), cos, sin)
    scaled = turned[:, :queries] * cos.shape[1] ** -0.5
    parts = scaled.to(qkv.dtype), turned[:, queries:].to(qkv.dtype), split[:, queries + keys :]
    return torch.cat(parts, dim=1)


def rotated_backward(drotated: Tensor, cos: Tensor, sin: Tensor, queries: int, keys: int) -> Tensor:
    """The gradient of `qkv` [t, heads * width]."""
    both = drotated[:, : queries + keys].float()
    scaled = torch.cat([both[:, :queries] * cos.shape[1] ** -0.5, both[:, queries:]], dim=1)
    turned = _turned(scaled, cos, -sin).to(drotated.dtype)
    return torch.cat([turned, drotated[:, queries + keys :]], dim=1).flatten(1)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of `x` [t, heads, width] by angles [t, width]; -sin turns back."""
    first, second = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]


def shares(scores: Tensor, bias: Tensor | None) -> Tensor:
    """The softmax of `scores` [s, heads, length, length], with a bias [s, 1, length, length]."""
    wide = scores.float()
    return torch.softmax(wide if bias is None else wide + bias, dim=-1).to(scores.dtype)


def shares_backward(dshares: Tensor, shares: Tensor) -> Tensor:
    """The gradient of the scores."""
    wide, found = dshares.float(), shares.float()
    return (found * (wide - (found * wide).sum(dim=-1, keepdim=True))).to(shares.dtype)


@dataclass(frozen=True)
class Kernels:
    """The functions of this module, as they are or compiled."""

    norm: Callable[..., tuple[Tensor, Tensor, Tensor]] = norm
    norm_backward: Callable[..., tuple[Tensor, Tensor]] = norm_backward
    gated: Callable[..., Tensor] = gated
    gated_backward: Callable[..., Tensor] = gated_backward
    rotated: Callable[..., Tensor] = rotated
    rotated_backward: Callable[..., Tensor] = rotated_backward
    shares: Callable[..., Tensor] = shares
    shares_backward: Callable[..., Tensor] = shares_backward


def compiled() -> Kernels | None:
    """The functions compiled for every size; None where torch finds no C++ compiler.

    Each takes some seconds at its first call, and less once torch has it on disk.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch uses its own old names
        fused = _fused()
        try:
            fused.gated(torch.zeros(2, 2))
        except Exception as error:  # a missing compiler is one of many types
            _log.debug("torch cannot compile: %s", error)
            return None
    return fused


def _fused() -> Kernels:
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, _VARIANTS)
    plain: dict[str, Any] = {each.name: each.default for each in fields(Kernels)}
    return Kernels(**{name: _compiled(function) for name, function in plain.items()})


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled = torch.compile(function, dynamic=True, options=_OPTIONS)

    def call(*given: Any) -> Any:
        # torch warns when it compiles for tensors that have a history
        return compiled(*(one.detach() if isinstance(one, Tensor) else one for one in given))

    return call
