"""A GGUF file as the source of a conversion.

Its metadata is copied byte for byte, except for the keys that llama.cpp's
llama_model_quantize changes (src/llama-quant.cpp). `grit.*` keys are added if the
file has none.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from io import FileIO
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.convert.source import TOKEN_EMBEDDINGS, SourceTensor
from gritlite.errors import ArchitectureError
from gritlite.modelfile.check import check_model
from gritlite.modelfile.header import GGUFFile, TensorInfo, read_header
from gritlite.modelfile.header_writer import (
    EncodedMetadata,
    MetadataValue,
    copy_metadata,
    encode_metadata,
)
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.modelfile.tensor_data import read_into
from gritlite.prompt import EmbedFormat, can_generate
from gritlite.quant.type_selection import ModelSpec
from gritlite.quant.types import Target, block_size, row_bytes
from gritlite.system.reading import open_regular

FILE_TYPE_KEY = "general.file_type"
QUANTIZATION_KEY = "general.quantization_version"
SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")


@contextlib.contextmanager
def open_gguf(path: Path) -> Iterator["GGUFSource"]:
    """Open the model in a GGUF file.

    Raises FileError if it cannot be read, FormatError if it is damaged, and
    ArchitectureError or TokenizerError if its parts are inconsistent.
    """
    header = read_header(path)
    check_model(header)
    with open_regular(path) as file:
        yield GGUFSource(header, file)


class GGUFSource:
    """A ModelSource."""

    def __init__(self, header: GGUFFile, file: FileIO) -> None:
        self._header = header
        self._file = file
        self._offsets = {info.name: info.offset for info in header.tensors}
        self.path = header.path
        self.alignment = header.alignment
        self.spec = ModelSpec.of(read_hyperparameters(header))
        self.tensors = tuple(self._tensor(info) for info in header.tensors)

    def _tensor(self, info: TensorInfo) -> SourceTensor:
        try:
            type = GGMLQuantizationType(info.type)
        except ValueError as error:
            raise ArchitectureError(
                f"{self.path}: tensor {info.name!r} is {info.type.name}, which the package gguf "
                "does not know: run  pip install --upgrade gguf"
            ) from error
        was_quantized = block_size(type) > 1
        return SourceTensor(
            info.name, info.shape, type, info.size, (info.name,), was_quantized=was_quantized
        )

    @property
    def lossless_types(self) -> Mapping[str, GGMLQuantizationType]:
        """See ModelSource."""
        return {}

    @property
    def generates(self) -> bool:
        """See ModelSource."""
        return can_generate(self._header.metadata)

    @property
    def notices(self) -> tuple[str, ...]:
        """See ModelSource."""
        return ()

    @property
    def token_embedding_type(self) -> GGMLQuantizationType:
        """See ModelSource."""
        return next(each.type for each in self.tensors if each.name == TOKEN_EMBEDDINGS)

    @property
    def embed_format(self) -> EmbedFormat:
        """See ModelSource."""
        return EmbedFormat.from_metadata(self._header.metadata)

    def metadata(
        self, target: Target, added: Mapping[str, MetadataValue], removed: Collection[str] = ()
    ) -> EncodedMetadata:
        """See ModelSource."""
        changed = {
            QUANTIZATION_KEY: GGML_QUANT_VERSION,
            FILE_TYPE_KEY: target.file_type,
            **added,
        }
        entries = self._header.entries
        missing = {
            key: value
            for key, value in EmbedFormat().to_metadata().items()
            if key not in entries and key not in changed
        }
        old = np.empty(self._header.tensors_offset, np.uint8)
        read_into(self._file, 0, old, "the header")
        without = {*changed, *removed, *SPLIT_KEYS}
        copied = copy_metadata(self._header, old.tobytes(), without)
        return copied + encode_metadata(changed) + encode_metadata(missing)

    def read_rows(self, tensor: SourceTensor, first: int, count: int) -> NDArray[np.uint8]:
        """See ModelSource."""
        size = row_bytes(tensor.type, tensor.shape[-1])
        stored = np.empty((count, size), np.uint8)
        read_into(self._file, self._offsets[tensor.name] + first * size, stored, tensor.name)
        return stored
