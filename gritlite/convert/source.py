"""The interface of a model to convert: its tensors by GGUF name, and its metadata.

`checkpoint_source` and `gguf_source` implement it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.modelfile.header_writer import EncodedMetadata, MetadataValue
from gritlite.prompt import EmbedFormat
from gritlite.quant.type_selection import ModelSpec
from gritlite.quant.types import Target

TOKEN_EMBEDDINGS = "token_embd.weight"


@dataclass(frozen=True)
class SourceTensor:
    """One tensor of a model, with GGUF's name and shape.

    `shape` is in numpy's order. `type` is the type in which its rows are given, and the
    one it keeps if it must not be quantized. `stored_bytes` is its size in the source.
    The rows come from `parts`, tensors of the source with equally many rows each; they
    must be read in multiples of `row_group` and from one part at a time.
    `was_quantized` tells whether its values were quantized before, even if given as
    floats.
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
        """The number of rows; a one-dimensional tensor is one row."""
        return math.prod(self.shape[:-1])

    @property
    def matrix_rows(self) -> int:
        """The number of rows of each matrix: experts are stacked."""
        return self.shape[-2] if len(self.shape) > 1 else 1

    @property
    def part_rows(self) -> int:
        """The number of rows of each part."""
        return self.rows // len(self.parts)


class ModelSource(Protocol):
    """A model to convert. Only one thread at a time may call `read_rows`."""

    @property
    def path(self) -> Path:
        """The file or folder, for error messages."""

    @property
    def spec(self) -> ModelSpec:
        """The hyperparameters that the selection of types depends on."""

    @property
    def tensors(self) -> Sequence[SourceTensor]:
        """Every tensor, in the order in which they are written."""

    @property
    def alignment(self) -> int:
        """The alignment of tensor data in bytes."""

    @property
    def lossless_types(self) -> Mapping[str, GGMLQuantizationType]:
        """Types that keep every tensor exactly, if some are quantized; otherwise empty."""

    @property
    def token_embedding_type(self) -> GGMLQuantizationType:
        """The type of the stored token embeddings: F32, F16, BF16 or a quantized one."""

    @property
    def generates(self) -> bool:
        """Whether it has an output matrix, its own or the embeddings."""

    @property
    def notices(self) -> Sequence[str]:
        """What a person should know about the model, in one line each."""

    @property
    def embed_format(self) -> EmbedFormat:
        """How the source wants texts embedded."""

    def metadata(
        self, target: Target, added: Mapping[str, MetadataValue], removed: Collection[str] = ()
    ) -> EncodedMetadata:
        """Return the metadata of the file to write.

        Keys in `added` replace the source's, and those in `removed` are left out.
        """

    def read_rows(self, tensor: SourceTensor, first: int, count: int) -> NDArray[np.uint8]:
        """Read rows `first` to `first + count` in the tensor's `type`, [count, bytes per row].

        The result is a new array. Raises FileError if the file cannot be read,
        FormatError if it ends too early.
        """
