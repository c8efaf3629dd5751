"""A Hugging Face checkpoint folder as the source of a conversion.

It maps the checkpoint's names, row order and tokenizer to GGUF's. The module does
not know how safetensors are laid out (`checkpoint`) or how types are selected.
"""

import contextlib
import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.convert.architectures import EMBEDDINGS, HEAD, can_generate, plan_tensors
from gritlite.convert.checkpoint import Checkpoint
from gritlite.convert.config import ModelConfig, read_config
from gritlite.convert.embedding_claims import MODULES, read_embedding_claims
from gritlite.convert.gptq_checkpoint import GPTQCheckpoint, GPTQFormat, QuantizedEntry
from gritlite.convert.metadata import add_embed_format, add_general, add_model, add_vocabulary
from gritlite.convert.rope_permutation import permute_heads
from gritlite.convert.safetensors import DTYPES, FLOATS, TensorEntry
from gritlite.convert.source import TOKEN_EMBEDDINGS, SourceTensor
from gritlite.convert.tokenizer import read_tokenizer
from gritlite.errors import ArchitectureError
from gritlite.modelfile.header import DEFAULT_ALIGNMENT
from gritlite.modelfile.header_writer import EncodedMetadata, MetadataValue, encode_metadata
from gritlite.prompt import EmbedFormat
from gritlite.quant.type_selection import ModelSpec, TensorSpec, is_quantizable
from gritlite.quant.types import Target

_F32, _Q4_0 = GGMLQuantizationType.F32, GGMLQuantizationType.Q4_0
_HALF_TYPES = {"F16": GGMLQuantizationType.F16, "BF16": GGMLQuantizationType.BF16}

ROPE_FACTORS = "rope_freqs.weight"
COMPARED_VALUES = 1 << 24  # values per step in the comparison of a tied model's matrices


@contextlib.contextmanager
def open_checkpoint(folder: Path) -> Iterator["CheckpointSource"]:
    """Open the model in a folder with config.json, a tokenizer and safetensors.

    Raises FileError, FormatError for damaged files, and ArchitectureError for a model
    that cannot be converted. `metadata` can raise TokenizerError as well.
    """
    config = read_config(folder)
    gptq = GPTQFormat.from_config(config.raw)
    with Checkpoint(folder, DTYPES if gptq else FLOATS) as checkpoint:
        yield CheckpointSource(config, GPTQCheckpoint(checkpoint, gptq) if gptq else checkpoint)


class CheckpointSource:
    """A ModelSource. Tensors are given as F32, which represents any checkpoint value exactly.

    GPTQ weights are given as Q4_0 if that represents them exactly.
    """

    alignment = DEFAULT_ALIGNMENT

    def __init__(self, config: ModelConfig, checkpoint: Checkpoint | GPTQCheckpoint) -> None:
        shapes = {name: entry.shape for name, entry in checkpoint.tensors.items()}
        self._config = config
        self._checkpoint = checkpoint
        self._plan = {
            tensor.name: tensor for tensor in plan_tensors(config, shapes, checkpoint.absent)
        }
        self._rope_factors = config.rope.frequency_factors(config.head_dim)
        _check_tied(checkpoint, config)
        self._claims = read_embedding_claims(checkpoint.path, config)
        self.path = checkpoint.path
        self.spec = ModelSpec(
            config.architecture, config.layers, config.heads, config.kv_heads, config.experts
        )
        self.tensors = tuple(self._list_tensors())

    def _list_tensors(self) -> Iterator[SourceTensor]:
        if self._rope_factors is not None:
            shape = self._rope_factors.shape
            yield SourceTensor(ROPE_FACTORS, shape, _F32, 0, (ROPE_FACTORS,))
        for tensor in self._plan.values():
            stored = sum(self._checkpoint.tensors[part].size for part in tensor.sources)
            group = 1 if tensor.heads is None else self._config.head_dim
            is_quantized = self._checkpoint.quantized.issuperset(tensor.sources)
            type = _Q4_0 if is_quantized else _F32
            first = self._checkpoint.tensors[tensor.sources[0]]
            was_quantized = isinstance(first, QuantizedEntry)
            yield SourceTensor(
                tensor.name, tensor.shape, type, stored, tensor.sources, group, was_quantized
            )

    @property
    def lossless_types(self) -> Mapping[str, GGMLQuantizationType]:
        """See ModelSource: Q4_0 for GPTQ weights, else the float type they are stored in."""
        quantized = [tensor.type for tensor in self.tensors if tensor.was_quantized]
        if not quantized or any(type != _Q4_0 for type in quantized):
            return {}
        types = {}
        for tensor in self.tensors:
            is_matrix = is_quantizable(TensorSpec(tensor.name, tensor.shape))
            types[tensor.name] = self._stored_type(tensor) if is_matrix else tensor.type
        return types

    @property
    def token_embedding_type(self) -> GGMLQuantizationType:
        """See ModelSource."""
        found = next(tensor for tensor in self.tensors if tensor.name == TOKEN_EMBEDDINGS)
        return self._stored_type(found)

    def _stored_type(self, tensor: SourceTensor) -> GGMLQuantizationType:
        """Return F16 or BF16 for a tensor stored so, else the type in which it is given."""
        entry = self._checkpoint.tensors.get(tensor.parts[0])
        dtype = entry.dtype if isinstance(entry, TensorEntry) else ""
        return _HALF_TYPES.get(dtype, tensor.type)

    @property
    def embed_format(self) -> EmbedFormat:
        """See ModelSource."""
        return self._claims.format

    def metadata(
        self, target: Target, added: Mapping[str, MetadataValue], removed: Collection[str] = ()
    ) -> EncodedMetadata:
        """See ModelSource. Raises what `read_tokenizer` raises."""
        writer = GGUFWriter(None, self._config.architecture)
        add_general(writer, self.path, self._config, target)
        add_model(writer, self._config)
        vocabulary = read_tokenizer(self.path, self._config.raw, self._config.vocabulary)
        add_vocabulary(writer, vocabulary)
        add_embed_format(writer, self._claims, generates=self.generates)
        for key in (*added, *removed):
            writer.kv_data[0].pop(key, None)
        return _encoded(writer) + encode_metadata(added)

    @property
    def generates(self) -> bool:
        """See ModelSource."""
        return can_generate(self._config, self._checkpoint.tensors)

    @property
    def notices(self) -> tuple[str, ...]:
        """See ModelSource."""
        found = []
        if not self.generates:
            found.append(
                "the checkpoint has no output matrix (lm_head): the file only embeds, and cannot "
                "chat"
            )
        if self._claims.format.pooling != "mean":
            found.append(
                f"as {MODULES} says, the file embeds with {self._claims.format.attention} "
                "attention and the last token's vector"
            )
        return tuple(found)

    def read_rows(self, tensor: SourceTensor, first: int, count: int) -> NDArray[np.uint8]:
        """See ModelSource."""
        if tensor.name == ROPE_FACTORS and self._rope_factors is not None:
            return self._rope_factors.reshape(1, -1).view(np.uint8)
        rows = self._stored(tensor, first, count)
        planned = self._plan[tensor.name]
        if planned.heads is None:
            return rows.view(np.uint8)
        # a bias is one row that runs over all heads
        matrix = rows.reshape(-1, *(rows.shape[1:] if len(planned.shape) > 1 else ()))
        ordered = permute_heads(matrix, planned.shape[0] // planned.heads)
        return ordered.reshape(rows.shape).view(np.uint8)

    def _stored(self, tensor: SourceTensor, first: int, count: int) -> NDArray[Any]:
        """Read rows in the checkpoint's order, as float32 or blocks of Q4_0."""
        part, row = divmod(first, tensor.part_rows)
        if tensor.type is _Q4_0 and isinstance(self._checkpoint, GPTQCheckpoint):
            return self._checkpoint.read_blocks(tensor.parts[part], row, count)
        return self._checkpoint.read_rows(tensor.parts[part], row, count)


def _encoded(writer: GGUFWriter) -> EncodedMetadata:
    # GGUFWriter opens files by name only, so it is handed an open buffer
    buffer = io.BytesIO()
    writer.fout = [buffer]
    writer.state = type(writer.state).HEADER
    writer.write_kv_data_to_file()
    return EncodedMetadata(len(writer.kv_data[0]), buffer.getvalue())


def _check_tied(checkpoint: Checkpoint | GPTQCheckpoint, config: ModelConfig) -> None:
    """Check that the output matrix of a tied model, if stored, equals the embeddings."""
    output = HEAD
    if not config.tied or output not in checkpoint.tensors:
        return
    embeddings = EMBEDDINGS if EMBEDDINGS in checkpoint.tensors else f"model.{EMBEDDINGS}"
    step = max(1, COMPARED_VALUES // config.hidden)
    is_same = checkpoint.tensors[output].shape == checkpoint.tensors[embeddings].shape and all(
        np.array_equal(
            checkpoint.read_rows(output, first, min(step, config.vocabulary - first)),
            checkpoint.read_rows(embeddings, first, min(step, config.vocabulary - first)),
        )
        for first in range(0, config.vocabulary, step)
    )
    if not is_same:
        raise ArchitectureError(
            f"config.json ties the output to the embeddings, but {output!r} differs from "
            f"{embeddings!r}: set tie_word_embeddings to false to use the output matrix"
        )
