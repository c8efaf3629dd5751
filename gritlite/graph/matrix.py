"""One matrix of a layer: where its numbers come from, and the forms that writers take."""

from dataclasses import dataclass, field

import numpy as np

from gritlite.graph.rounding import (
    BLOCK,
    BLOCK_BITS,
    Blocks,
    Channels,
    round_blocks,
    round_channels,
    stored_blocks,
)
from gritlite.graph.tensors import Floats, Tensors


@dataclass(frozen=True)
class Matrix:
    """The rows of one or more tensors, [n, k], which a layer multiplies its input by.

    `parts` are the tensors' names without ".weight"; `expert` selects a matrix of a stack.
    With `per_token` the input of the product is scaled for each token where it is rounded,
    since a few tokens have far larger numbers than the others.
    """

    tensors: Tensors = field(repr=False)
    parts: tuple[str, ...]
    expert: int | None = None
    per_token: bool = False

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

    def floats(self) -> Floats:
        """Return the matrix, float32 [n, k]."""
        read = [self.tensors.floats(f"{part}.weight") for part in self.parts]
        rows = read[0] if len(read) == 1 else np.concatenate(read)
        return rows if self.expert is None else rows[self.expert]

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

    def channels(self, *, limit: int = 127) -> Channels:
        """Return the matrix rounded to int8, with a scale for each row."""
        return round_channels(self.floats(), limit=limit)

    def blocks(self) -> Blocks | None:
        """Return the matrix in blocks of 32; None if rows are no whole number of blocks.

        They are the file's own numbers where it has them, else rounded to Q8_0.
        """
        if self.shape[1] % BLOCK:
            return None
        types = {self.tensors.type(f"{part}.weight") for part in self.parts}
        if len(types) > 1 or not self.tensors.keeps_numbers or not types <= BLOCK_BITS.keys():
            return round_blocks(self.floats())
        stored = [self.tensors.stored(f"{part}.weight") for part in self.parts]
        rows = stored[0] if len(stored) == 1 else np.concatenate(stored)
        if self.expert is not None:
            n = self.shape[0]
            rows = rows[self.expert * n : (self.expert + 1) * n]
        return stored_blocks(rows, types.pop())
