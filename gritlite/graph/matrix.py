"""One matrix of a layer: where its numbers come from, and the forms that writers take."""

from dataclasses import dataclass, field

import numpy as np
from gguf.constants import GGMLQuantizationType

from gritlite.graph.rounding import (
    BLOCK,
    BLOCK_BITS,
    Blocks,
    Channels,
    joined_blocks,
    round_blocks,
    round_channels,
    stored_blocks,
)
from gritlite.graph.tensors import Floats, Tensors

# the types whose numbers are not quantized
FLOAT_TYPES = frozenset(
    (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16)
)


@dataclass(frozen=True)
class Matrix:
    """The rows of one or more tensors, [n, k], which a layer multiplies its input by.

    `parts` are the tensors' names without ".weight"; `expert` selects a matrix of a stack.
    With `per_token` the input of the product is scaled for each token where it is rounded:
    no norm has made the sizes of tokens alike. The input of a `precise` product is rounded to
    16 bits instead of 8 in the int8 form.
    """

    tensors: Tensors = field(repr=False)
    parts: tuple[str, ...]
    expert: int | None = None
    per_token: bool = False
    precise: bool = False

    @property
    def name(self) -> str:
        """A name for messages and graph nodes."""
        joined = "+".join(self.parts)
        return joined if self.expert is None else f"{joined}.{self.expert}"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (outputs) and columns (inputs)."""
        shapes = [self.tensors.shape(f"{part}.weight") for part in self.parts]
        return sum(shape[-2] for shape in shapes), shapes[0][-1]

    @property
    def outliers(self) -> int:
        """How many of the first columns meet far larger inputs than the others."""
        is_down = all(".ffn_down" in part for part in self.parts)
        outliers = self.tensors.outliers if is_down and not self.precise else 0
        return outliers if 2 * outliers <= self.shape[1] else 0

    def floats(self) -> Floats:
        """Return the matrix, float32 [n, k]."""
        read = [self.tensors.floats(f"{part}.weight", self.expert) for part in self.parts]
        return read[0] if len(read) == 1 else np.concatenate(read)

    def bias(self) -> Floats | None:
        """Return what is added to the product, float32 [n]; None if there is nothing."""
        names = [f"{part}.bias" for part in self.parts]
        if not any(name in self.tensors for name in names):
            return None
        rows = [self.tensors.shape(f"{part}.weight")[-2] for part in self.parts]
        return np.concatenate(
            [
                self.tensors.floats(name) if name in self.tensors else np.zeros(n, np.float32)
                for name, n in zip(names, rows, strict=True)
            ]
        )

    def channels(self, columns: slice = slice(None), *, pair_limit: int | None = None) -> Channels:
        """Return columns of the matrix rounded to int8, with a scale for each row."""
        return round_channels(self.floats()[:, columns], pair_limit=pair_limit)

    def blocks(self) -> Blocks | None:
        """Return the matrix in blocks of 32, for the form that loses nothing.

        Q8_0 and Q4_0 are blocks, so these are the file's own numbers. Other quantized types
        are rounded to Q8_0. None if the file's numbers are floats, which blocks would round,
        or if rows are no whole number of blocks.
        """
        types = {self.tensors.type(f"{part}.weight") for part in self.parts}
        if self.shape[1] % BLOCK or not types.isdisjoint(FLOAT_TYPES):
            return None
        if not self.tensors.keeps_numbers or not types <= BLOCK_BITS.keys():
            return round_blocks(self.floats())
        return joined_blocks(
            [
                stored_blocks(self.tensors.stored(name, self.expert), self.tensors.type(name))
                for name in (f"{part}.weight" for part in self.parts)
            ]
        )
