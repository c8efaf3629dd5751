"""What a conversion needs of a model, whatever it is stored as: GGUF's tensors, and its keys.

`checkpoint_source` and `gguf_source` are the two kinds there are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.modelfile.header_writer import EncodedMetadata, MetadataValue
from gritlite.quant.type_selection import ModelSpec
from gritlite.quant.types import Target

TOKEN_EMBEDDINGS = "token_embd.weight"


@dataclass(frozen=True)
class SourceTensor:
    """One tensor of a model, under the name and in the shape that GGUF has for it.

    `shape` is in numpy's order. `type` is the number format in which its rows are
    given, and kept if they must not be quantized; `stored_bytes` are read for it. They come
    from `parts`, the source's own names, as many from each, and are to be asked
    for in multiples of `row_group` and from one part at a time. `rounded` values
    were quantized once, though they may be given in floats.
    """

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    stored_bytes: int
    parts: tuple[str, ...]
    row_group: int = 1
    was_quantized: bool = False

    @property
    def rows(self) -> int:
        """How many rows it has; a tensor of one dimension is one row."""
        return math.prod(self.shape[:-1])

    @property
    def matrix_rows(self) -> int:
        """How many rows each of its matrices has: the experts' are stacked."""
        return self.shape[-2] if len(self.shape) > 1 else 1

    @property
    def part_rows(self) -> int:
        """How many rows each of the parts has."""
        return self.rows // len(self.parts)


class ModelSource(Protocol):
    """A model to convert. `read_rows` is for one thread at a time."""

    @property
    def path(self) -> Path:
        """The file or folder, for messages."""

    @property
    def spec(self) -> ModelSpec:
        """What the choice of types depends on."""

    @property
    def tensors(self) -> Sequence[SourceTensor]:
        """Every tensor, in the order to write them."""

    @property
    def alignment(self) -> int:
        """What tensor data are to be aligned to, in bytes."""

    @property
    def lossless_types(self) -> Mapping[str, GGMLQuantizationType]:
        """The type of every tensor in which nothing is lost, if some are quantized; else empty."""

    @property
    def token_embedding_type(self) -> GGMLQuantizationType:
        """The type of its token embeddings: F32, F16 or BF16, or a quantized one."""

    def keys(self, target: Target, added: Mapping[str, MetadataValue]) -> EncodedMetadata:
        """The metadata of the file to write, `added` in the place of what is called so."""

    def read_rows(self, tensor: SourceTensor, first: int, count: int) -> NDArray[np.uint8]:
        """Rows `first` to `first + count` in the tensor's `type`, [count, bytes per row].

        They are in memory of their own. Raises FileError if the file cannot be
        read, FormatError if it ends too early.
        """
