"""A Hugging Face checkpoint folder as the source of a conversion."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.convert.architectures import plan_tensors
from gritlite.convert.checkpoint import Checkpoint
from gritlite.convert.config import ModelConfig, read_config
from gritlite.convert.interleaving import interleaved
from gritlite.convert.metadata import add_embed_format, add_general, add_model, add_vocabulary
from gritlite.convert.source import SourceTensor
from gritlite.convert.tokenizer import read_tokenizer
from gritlite.errors import ArchitectureError
from gritlite.modelfile.encoding import Encodable, Keys, encode_keys
from gritlite.modelfile.header import DEFAULT_ALIGNMENT
from gritlite.prompt import EmbedFormat
from gritlite.quant.choices import ModelFacts
from gritlite.quant.types import Target

ROPE_FACTORS = "rope_freqs.weight"
COMPARED_VALUES = 1 << 24  # at once, of the two matrices of a tied model


@contextlib.contextmanager
def open_checkpoint(folder: Path) -> Iterator["CheckpointSource"]:
    """The model in a folder with config.json, a tokenizer and safetensors.

    Raises FileError, FormatError for damaged files, and ArchitectureError for a
    model that cannot be carried over; `keys` raises TokenizerError as well.
    """
    config = read_config(folder)
    with Checkpoint(folder) as checkpoint:
        yield CheckpointSource(config, checkpoint)


class CheckpointSource:
    """A ModelSource. The values of a checkpoint are floats, which F32 holds exactly."""

    alignment = DEFAULT_ALIGNMENT

    def __init__(self, config: ModelConfig, checkpoint: Checkpoint) -> None:
        shapes = {name: entry.shape for name, entry in checkpoint.tensors.items()}
        self._config = config
        self._checkpoint = checkpoint
        self._plan = {tensor.name: tensor for tensor in plan_tensors(config, shapes)}
        self._rope_factors = config.rope.frequency_factors(config.head_dim)
        _check_tied(checkpoint, config)
        self.path = checkpoint.path
        self.facts = ModelFacts(
            config.architecture, config.layers, config.heads, config.kv_heads, config.experts
        )
        self.tensors = tuple(self._list_tensors())

    def _list_tensors(self) -> Iterator[SourceTensor]:
        if self._rope_factors is not None:
            yield _f32(ROPE_FACTORS, self._rope_factors.shape, 0, (ROPE_FACTORS,))
        for tensor in self._plan.values():
            stored = sum(self._checkpoint.tensors[part].size for part in tensor.sources)
            group = 1 if tensor.heads is None else self._config.head_dim
            yield _f32(tensor.name, tensor.shape, stored, tensor.sources, group)

    def keys(self, target: Target, added: Mapping[str, Encodable]) -> Keys:
        """See ModelSource; raises what `read_tokenizer` raises."""
        writer = GGUFWriter(None, self._config.architecture)
        add_general(writer, self.path, self._config, target)
        add_model(writer, self._config)
        vocabulary = read_tokenizer(self.path, self._config.raw, self._config.vocabulary)
        add_vocabulary(writer, vocabulary)
        add_embed_format(writer, EmbedFormat())
        return _encoded(writer) + encode_keys(added)

    def read_rows(self, tensor: SourceTensor, first: int, count: int) -> NDArray[np.uint8]:
        """See ModelSource."""
        return self._floats(tensor, first, count).view(np.uint8)

    def _floats(self, tensor: SourceTensor, first: int, count: int) -> NDArray[np.float32]:
        if tensor.name == ROPE_FACTORS and self._rope_factors is not None:
            return self._rope_factors.reshape(1, -1)
        part, row = divmod(first, tensor.part_rows)
        rows = self._checkpoint.read_rows(tensor.parts[part], row, count)
        planned = self._plan[tensor.name]
        if planned.heads is None:
            return rows
        # a bias is one row, with the heads along it
        matrix = rows.reshape(-1, *planned.shape[1:])
        return interleaved(matrix, planned.shape[0] // planned.heads).reshape(rows.shape)


def _f32(
    name: str, shape: tuple[int, ...], stored: int, parts: tuple[str, ...], group: int = 1
) -> SourceTensor:
    return SourceTensor(name, shape, GGMLQuantizationType.F32, stored, parts, group)


def _encoded(writer: GGUFWriter) -> Keys:
    # the writer only knows how to open files by name; it takes one that is open as well
    buffer = io.BytesIO()
    writer.fout = [buffer]
    writer.state = type(writer.state).HEADER
    writer.write_kv_data_to_file()
    return Keys(len(writer.kv_data[0]), buffer.getvalue())


def _check_tied(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """A tied model may store its output matrix all the same, if it is the embeddings'."""
    output, embeddings = "lm_head.weight", "model.embed_tokens.weight"
    if not config.tied or output not in checkpoint.tensors:
        return
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
            f"{embeddings!r}: set tie_word_embeddings to false if the output is its own"
        )
