"""SmoothQuant: large numbers moved from a product's input into its matrix, before rounding.

x W^T equals (x / s) (W s)^T for any factors s > 0, one a column. Dividing x costs nothing at
run time: it is folded into what makes x, which is a norm's weight, the rows of the values'
matrix, or the rows of ffn_up (arXiv 2211.10438). The module does not measure inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gritlite.graph.network import Network
from gritlite.graph.tensors import Floats, Tensors

# measured on SmolLM2-135M: 0.7 gains behind norms (0.65 to 0.75 are alike), and loses elsewhere
_OF_NORMS, _OF_MATRICES = 0.7, 0.5
_SMALLEST = 1e-5
_MOST = 1e4  # of a factor, and one over it the least

Factors = Mapping[str, Floats]


@dataclass(frozen=True)
class Site:
    """Where an input is made, and which matrices of the layer take it.

    `made_by` is the tensor whose output is divided: a norm, or rows of a matrix. `strength`
    is SmoothQuant's alpha: how much of the size of inputs moves into the matrices.
    """

    made_by: str
    taken_by: tuple[str, ...]
    strength: float


DENSE_SITES = (
    Site("attn_norm", ("attn_q", "attn_k", "attn_v"), _OF_NORMS),
    Site("attn_v", ("attn_output",), _OF_MATRICES),
    Site("ffn_norm", ("ffn_gate", "ffn_up"), _OF_NORMS),
    Site("ffn_up", ("ffn_down",), _OF_MATRICES),
)
MIXTURE_SITES = (
    *DENSE_SITES[:2],
    Site("ffn_norm", ("ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps"), _OF_NORMS),
    Site("ffn_up_exps", ("ffn_down_exps",), _OF_MATRICES),
)


def sites(network: Network) -> tuple[Site, ...]:
    """Return the places of a layer where its inputs can be smoothed."""
    return MIXTURE_SITES if network.experts else DENSE_SITES


def smoothing_factors(
    network: Network, tensors: Tensors, maxima: Mapping[str, Floats]
) -> dict[str, Floats]:
    """Return the factors of every site, by the name of the tensor that makes the input.

    `maxima` are the largest magnitudes of each matrix's inputs, by the tensor's name without
    ".weight": float32 [k], or [experts, k] for a stack. A site whose matrices have none, such
    as an expert that no text reached, is left as it is.
    """
    found = {}
    for layer in range(network.layers):
        for site in sites(network):
            name = f"blk.{layer}.{site.made_by}"
            takers = [f"blk.{layer}.{taker}" for taker in site.taken_by]
            if all(taker in maxima for taker in takers):
                inputs = np.max([_over_stack(maxima[t], site) for t in takers], axis=0)
                weights = np.max([_columns(tensors.floats(f"{t}.weight"), site) for t in takers], 0)
                if site.made_by == "attn_v":
                    inputs, weights = (_over_group(each, network) for each in (inputs, weights))
                found[name] = _factors(inputs, weights, site.strength)
    return found


def _over_stack(maxima: Floats, site: Site) -> Floats:
    """Return one maximum a column; for ffn_down's experts one for each expert."""
    return maxima if site.made_by == "ffn_up_exps" or maxima.ndim == 1 else maxima.max(axis=0)


def _columns(weights: Floats, site: Site) -> Floats:
    largest = np.abs(weights).max(axis=-2)
    return _over_stack(largest, site)


def _over_group(values: Floats, network: Network) -> Floats:
    """Return the maximum over the query heads that share a key-value head."""
    grouped = values.reshape(network.kv_heads, -1, network.head_width)
    largest: Floats = grouped.max(axis=1).reshape(-1)
    return largest


def _factors(inputs: Floats, weights: Floats, strength: float) -> Floats:
    inputs, weights = np.maximum(inputs, _SMALLEST), np.maximum(weights, _SMALLEST)
    factors = inputs**strength / weights ** (1 - strength)
    clipped: Floats = np.clip(factors, 1 / _MOST, _MOST).astype(np.float32)
    return clipped


def column_orders(
    network: Network, maxima: Mapping[str, Floats], factors: Factors
) -> dict[str, NDArray[np.intp]]:
    """Return the columns of each layer's ffn_down by falling smoothed maxima.

    int [k], or [experts, k], by layer, such as "blk.0". Inputs of ffn_down have a few columns
    that stay far larger than the others; in front, they can be rounded by themselves.
    """
    made_by, (taken_by,) = sites(network)[-1].made_by, sites(network)[-1].taken_by
    orders = {}
    for layer in (f"blk.{number}" for number in range(network.layers)):
        found = factors.get(f"{layer}.{made_by}")
        if found is not None:
            orders[layer] = np.argsort(-maxima[f"{layer}.{taken_by}"] / found, axis=-1)
    return orders


class SmoothedTensors(Tensors):
    """A file's tensors with smoothing folded in: all outputs stay the same, but for rounding.

    `maxima` are those of `smoothing_factors`, and `factors` what it found. Columns of ffn_down
    are in the order of `column_orders`, and so are the rows that make its inputs.
    """

    keeps_numbers = False
    outliers = 64

    def __init__(self, tensors: Tensors, network: Network, maxima: Mapping[str, Floats]) -> None:
        super().__init__(tensors.file, tensors.opened)
        self.factors: Factors = smoothing_factors(network, tensors, maxima)
        self._orders = column_orders(network, maxima, self.factors)
        self._group = network.heads // network.kv_heads
        self._head_width = network.head_width
        self._made = {site.made_by for site in sites(network)}
        self._taken = {taker: site.made_by for site in sites(network) for taker in site.taken_by}

    def floats(self, name: str, expert: int | None = None) -> Floats:
        """Return a tensor with its own factors and those of its input, in the layer's order."""
        values = super().floats(name, expert)
        layer, _, part = name.rpartition(".")[0].rpartition(".")
        if name.endswith(".weight") and part in self._taken:
            factors = self._site_factors(f"{layer}.{self._taken[part]}", expert)
            if factors is not None:
                values = values * self._over_columns(factors, part)
        if part in self._made:
            factors = self._site_factors(f"{layer}.{part}", expert)
            if factors is not None:
                values = values / (factors[..., None] if values.ndim > factors.ndim else factors)
        return self._ordered(values, layer, part, expert)

    def _ordered(self, values: Floats, layer: str, part: str, expert: int | None) -> Floats:
        kind, order = part.removesuffix("_exps"), self._orders.get(layer)
        if order is None or kind not in ("ffn_gate", "ffn_up", "ffn_down"):
            return values
        order = order if expert is None else order[expert]
        if kind == "ffn_down":  # its columns; a bias has none
            return (
                values
                if values.ndim == order.ndim
                else np.take_along_axis(values, order[..., None, :], axis=-1)
            )
        places = order if values.ndim == order.ndim else order[..., None]
        return np.take_along_axis(values, places, axis=order.ndim - 1)

    def _site_factors(self, name: str, expert: int | None) -> Floats | None:
        """Return the factors of an input, of one expert where each has its own."""
        factors = self.factors.get(name)
        return (
            factors if factors is None or expert is None or factors.ndim == 1 else factors[expert]
        )

    def _over_columns(self, factors: Floats, part: str) -> Floats:
        if part == "attn_output":  # each value head serves a group of query heads
            heads = factors.reshape(-1, self._head_width)
            return np.repeat(heads, self._group, axis=0).reshape(-1)
        return factors if factors.ndim == 1 else factors[:, None, :]
