"""Rotary position embedding: the cosines and sines that a GGUF file's metadata imply.

Source: ggml's ggml-cpu/ops.cpp (`ggml_rope_cache_init`, `rope_yarn`) and llama.cpp's
llama-context.cpp for the attention factor. The module does not rotate anything.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gritlite.errors import ArchitectureError
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import Hyperparameters

MAX_POSITIONS = 16_384  # the tables' length; a graph reads no longer texts
_SCALINGS = ("none", "linear", "yarn")
_BETA_FAST, _BETA_SLOW = 32.0, 1.0


@dataclass(frozen=True)
class Rotary:
    """One model's rotary embedding.

    `frequencies`, float64 [head width / 2], are radians per position, and `scale` multiplies
    cosines and sines. `positions` is the most that are tabulated. With `is_interleaved` the
    numbers 2i and 2i+1 of a head are turned together, otherwise i and i + half a head.
    """

    is_interleaved: bool
    positions: int
    scale: float
    frequencies: NDArray[np.float64] = field(repr=False, compare=False)

    def tables(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the cosines and sines, each float32 [positions, head width / 2]."""
        angles = np.arange(self.positions)[:, None] * self.frequencies
        cosines, sines = np.cos(angles) * self.scale, np.sin(angles) * self.scale
        return cosines.astype(np.float32), sines.astype(np.float32)


def read_rotary(
    file: GGUFFile,
    sizes: Hyperparameters,
    factors: NDArray[np.float32] | None = None,
    *,
    is_interleaved: bool,
) -> Rotary:
    """Read the rotary embedding.

    `factors`, float32 [head width / 2], divide the frequencies (the tensor `rope_freqs`).
    Raises ArchitectureError for a kind that is not known.
    """
    keys = _Keys(file, sizes.architecture)
    base = keys.number("rope.freq_base", 10_000.0)
    width = sizes.rope_width
    frequencies = base ** (-np.arange(0, width, 2) / width)
    if factors is not None:
        frequencies = frequencies / factors
    kind = keys.text("rope.scaling.type", "none")
    if kind not in _SCALINGS:
        raise ArchitectureError(f"{file.path}: the rope scaling {kind!r} is not known")
    factor = keys.number("rope.scaling.factor", 0.0) or keys.number("rope.scale_linear", 0.0) or 1.0
    slower = frequencies if kind == "none" else frequencies / factor
    scale = keys.number("rope.scaling.attn_factor", 1.0)
    if kind == "yarn":
        keys.refuse_yarn_variants()
        kept = _kept(keys, width, base, sizes.context_length)
        slower = slower * (1 - kept) + frequencies * kept
        scale *= 1 + 0.1 * math.log(factor)
    return Rotary(is_interleaved, min(sizes.context_length, MAX_POSITIONS), scale, slower)


def _kept(keys: "_Keys", width: int, base: float, context: int) -> NDArray[np.float64]:
    """Return the share, [width / 2], of each frequency that yarn does not slow down."""
    original = keys.number("rope.scaling.original_context_length", context)

    def dimension(turns: float) -> float:
        return width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(0.0, math.floor(dimension(keys.number("rope.scaling.yarn_beta_fast", _BETA_FAST))))
    high = min(
        width - 1.0, math.ceil(dimension(keys.number("rope.scaling.yarn_beta_slow", _BETA_SLOW)))
    )
    ramp = (np.arange(width // 2) - low) / max(0.001, high - low)
    kept: NDArray[np.float64] = 1 - np.clip(ramp, 0, 1)
    return kept


def halves(width: int) -> NDArray[np.intp]:
    """Return where in an interleaved head each number of a head in halves stands, [width]."""
    return np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2)])


class _Keys:
    """Typed access to the metadata keys of one architecture."""

    def __init__(self, file: GGUFFile, architecture: str) -> None:
        self._file, self._architecture = file, architecture

    def number(self, name: str, default: float) -> float:
        value = self._file.metadata.get(f"{self._architecture}.{name}", default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ArchitectureError(
                f"{self._file.path}: the metadata key {self._architecture}.{name} is not a number"
            )
        return float(value)

    def text(self, name: str, default: str) -> str:
        return str(self._file.metadata.get(f"{self._architecture}.{name}", default))

    def refuse_yarn_variants(self) -> None:
        """Raise ArchitectureError for yarn's keys that the tables do not cover."""
        for name in ("yarn_log_multiplier", "yarn_ext_factor", "yarn_attn_factor"):
            key = f"{self._architecture}.rope.scaling.{name}"
            if key in self._file.metadata:
                raise ArchitectureError(
                    f"{self._file.path}: no graph is written for yarn with {key}"
                )
