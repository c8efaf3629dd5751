"""Sums of squared matrix inputs over passes, and their mixture over the two modes.

For causal passes the sums are those of llama.cpp's tools/imatrix/imatrix.cpp. They are
float64, so that many small terms are not lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gritlite.quant.imatrix import Activations
from gritlite.runtime.llama import MatrixInput


@dataclass
class ActivationSums:
    """Per tensor: sums of squared inputs, float64 [matrices, k], and token counts [matrices]."""

    sums: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def move_from(self, other: "ActivationSums") -> None:
        """Add the sums and counts of `other`, and empty it."""
        for name, sums in other.sums.items():
            self.sums[name] = self.sums.get(name, 0) + sums
            self.counts[name] = self.counts.get(name, 0) + other.counts[name]
        other.sums.clear()
        other.counts.clear()

    def add(self, seen: MatrixInput) -> None:
        """Add the squared inputs of one matrix product."""
        if seen.tensor not in self.sums:
            self.sums[seen.tensor] = np.zeros((seen.count, seen.inputs.shape[1]))
            self.counts[seen.tensor] = np.zeros(seen.count, np.int64)
        squares = np.square(seen.inputs)
        if seen.count == 1:
            self.sums[seen.tensor][0] += squares.sum(axis=0, dtype=np.float64)
        else:
            meets = np.arange(seen.count)[:, None] == seen.matrices
            self.sums[seen.tensor] += meets.astype(np.float32) @ squares
        self.counts[seen.tensor] += np.bincount(seen.matrices, minlength=seen.count)


def to_activations(sums: ActivationSums) -> dict[str, Activations]:
    """Return one mode's sums as float32 activations by tensor."""
    return {
        name: Activations(total.astype(np.float32), sums.counts[name].astype(np.float32))
        for name, total in sums.sums.items()
    }


def mix_modes(
    embed: ActivationSums, generate: ActivationSums, embed_weight: float
) -> Mapping[str, Activations]:
    """Return activations whose mean squares are the weighted mean of both modes' mean squares.

    The number of tokens of each mode does not affect the mean. A matrix that only one mode
    used, such as a rare expert, keeps that mode's mean.
    """
    if not embed.sums or not generate.sums:
        return to_activations(embed if embed.sums else generate)
    found = {}
    for name, embed_sums in embed.sums.items():
        counts = np.stack([embed.counts[name], generate.counts[name]])  # [2, matrices]
        sums = np.stack([embed_sums, generate.sums[name]])
        means = sums / np.maximum(counts, 1)[:, :, None]
        weights = np.array([embed_weight, 1 - embed_weight])[:, None] * (counts > 0)
        weights /= np.maximum(weights.sum(axis=0), np.finfo(np.float64).tiny)
        total = counts.sum(axis=0)
        mean = (weights[:, :, None] * means).sum(axis=0)
        found[name] = Activations(
            (mean * total[:, None]).astype(np.float32), total.astype(np.float32)
        )
    return found
