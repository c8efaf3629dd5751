"""The largest inputs of each layer matrix, which smoothing and scales per token depend on."""

from collections.abc import Mapping
from dataclasses import dataclass

from gritlite.graph.tensors import Floats


@dataclass(frozen=True)
class InputMaxima:
    """What was measured of the inputs of a model's layer matrices.

    `columns` has the largest magnitude of each input column by the tensor's name without
    ".weight": float32 [k], or [experts, k] for a stack. `massive` names the tensors whose
    smoothed inputs have a few tokens with far larger numbers than the others.
    """

    columns: Mapping[str, Floats]
    massive: frozenset[str]
