"""A Hugging Face checkpoint becomes one GGUF file, tensor by tensor.

Rows are read, widened, quantized and written in blocks, so that memory does not
grow with the model, and no intermediate file is needed. What goes where is
decided before the first byte is written.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from gritlite.convert.architectures import PlannedTensor, plan_tensors
from gritlite.convert.checkpoint import Checkpoint
from gritlite.convert.config import ModelConfig, read_config
from gritlite.convert.metadata import add_embed_format, add_general, add_model, add_vocabulary
from gritlite.convert.tokenizer import read_tokenizer
from gritlite.errors import ArchitectureError, FileError, FormatError, UsageError
from gritlite.files import check_output, replacing
from gritlite.prompt import EmbedFormat
from gritlite.quant.choices import ModelFacts, TensorFacts, TypeChoice, choose_types
from gritlite.quant.rows import quantize_rows
from gritlite.quant.types import TARGETS, Target, row_bytes

BLOCK_VALUES = 1 << 24  # 64 MiB of float32: long enough for all threads, small beside a model
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Progress:
    """How far a conversion is. `bytes` are those of the checkpoint's tensors."""

    tensor: str
    tensors_done: int
    tensors_total: int
    bytes_done: int
    bytes_total: int


@dataclass(frozen=True)
class Report:
    """What was written. `fallbacks` says, per tensor, why it has not the type asked for."""

    output: Path
    bytes: int
    tensors: int
    fallbacks: tuple[str, ...]


@dataclass(frozen=True)
class _Block:
    """Some rows of one of a tensor's sources."""

    number: int
    tensor: PlannedTensor
    source: str
    first_row: int
    rows: int
    is_first: bool
    is_last: bool


@dataclass(frozen=True)
class _Job:
    """Everything decided before writing."""

    checkpoint: Checkpoint
    plan: tuple[PlannedTensor, ...]
    rope_factors: NDArray[np.float32] | None
    choices: dict[str, TypeChoice]
    threads: int


def convert(
    source: Path,
    output: Path,
    target: str,
    *,
    force: bool = False,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Write the checkpoint folder `source` as the GGUF file `output`, of type `target`.

    `target` is a key of gritlite.quant.types.TARGETS. An `output` that exists is
    replaced only with `force`. `threads` is the number of processors to use, all
    by default. `on_progress` is called after each tensor, from the calling thread.

    Raises UsageError for an unknown target, FileError if something cannot be
    read or written, OutputExistsError, FormatError for damaged files,
    ArchitectureError and TokenizerError for models that cannot be carried over.
    """
    if target not in TARGETS:
        raise UsageError(f"type {target!r} is not known; known are {', '.join(TARGETS)}")
    if not source.is_dir():
        raise FileError(f"{source} is not a folder: name the folder of a Hugging Face model")
    check_output(output, force=force)
    config = read_config(source)
    with Checkpoint(source) as checkpoint:
        job = _decide(checkpoint, config, TARGETS[target], threads or os.cpu_count() or 1)
        writer = _header(source, config, TARGETS[target], job)
        with replacing(output, force=force) as file:
            _write_header(writer, file)
            _write_tensors(job, file, writer.data_alignment, on_progress or (lambda _: None))
            size = file.tell()
    fallbacks = [choice.fallback for choice in job.choices.values() if choice.fallback]
    return Report(output, size, len(job.choices), tuple(fallbacks))


def _decide(checkpoint: Checkpoint, config: ModelConfig, target: Target, threads: int) -> _Job:
    shapes = {name: entry.shape for name, entry in checkpoint.tensors.items()}
    plan = plan_tensors(config, shapes)
    _check_tied(checkpoint, config)
    rope_factors = config.rope.frequency_factors(config.head_dim)
    tensors = [TensorFacts(tensor.name, tensor.shape) for tensor in plan]
    if rope_factors is not None:
        tensors.insert(0, TensorFacts(ROPE_FACTORS, rope_factors.shape))
    facts = ModelFacts(
        config.architecture, config.layers, config.heads, config.kv_heads, config.experts
    )
    return _Job(checkpoint, plan, rope_factors, choose_types(tensors, facts, target), threads)


def _check_tied(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """A tied model may store its output matrix all the same, if it is the embeddings'."""
    output, embeddings = "lm_head.weight", "model.embed_tokens.weight"
    if not config.tied or output not in checkpoint.tensors:
        return
    step = max(1, BLOCK_VALUES // config.hidden)
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


def _header(source: Path, config: ModelConfig, target: Target, job: _Job) -> GGUFWriter:
    writer = GGUFWriter(None, config.architecture)
    add_general(writer, source, config, target)
    add_model(writer, config)
    add_vocabulary(writer, read_tokenizer(source, config.raw, config.vocabulary))
    add_embed_format(writer, EmbedFormat())
    shapes = {tensor.name: tensor.shape for tensor in job.plan}
    if job.rope_factors is not None:
        shapes[ROPE_FACTORS] = job.rope_factors.shape
    for name, choice in job.choices.items():
        *rows, length = shapes[name]
        row = row_bytes(choice.type, length)
        writer.add_tensor_info(
            name, (*rows, row), np.dtype(np.uint8), row * int(np.prod(rows)), choice.type
        )
    return writer


def _write_header(writer: GGUFWriter, file: BinaryIO) -> None:
    # the writer only knows how to open files by name; it takes one that is open as well
    writer.fout = [file]
    writer.state = type(writer.state).EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()


def _write_tensors(
    job: _Job, file: BinaryIO, alignment: int, on_progress: Callable[[Progress], None]
) -> None:
    if job.rope_factors is not None:
        _align(file, alignment)
        file.write(job.rope_factors.tobytes())
    bytes_done, bytes_total = 0, sum(_source_bytes(job, tensor) for tensor in job.plan)
    blocks = (block for number, tensor in enumerate(job.plan) for block in _blocks(number, tensor))
    for block, rows in _read_ahead(job.checkpoint, blocks):
        if block.is_first:
            _align(file, alignment)
        file.write(_quantized(job, block, rows).data)
        bytes_done += rows.size * job.checkpoint.tensors[block.source].width
        tensors_done = block.number + block.is_last
        on_progress(
            Progress(block.tensor.name, tensors_done, len(job.plan), bytes_done, bytes_total)
        )
    _align(file, alignment)


def _source_bytes(job: _Job, tensor: PlannedTensor) -> int:
    return sum(job.checkpoint.tensors[source].size for source in tensor.sources)


def _align(file: BinaryIO, alignment: int) -> None:
    file.write(bytes(-file.tell() % alignment))


def _quantized(job: _Job, block: _Block, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    name = block.tensor.name
    try:
        return quantize_rows(rows, job.choices[name].type, job.threads)
    except FormatError as error:
        # the row is counted within the block
        place = f"{job.checkpoint.folder}: {block.source!r} from row {block.first_row}"
        raise FormatError(f"{place}: {error}: the checkpoint is damaged") from error


def _blocks(number: int, tensor: PlannedTensor) -> Iterator[_Block]:
    """The tensor's parts in the order of the file."""
    rows, length = (1, *tensor.source_shape)[-2:]
    # rows that are reordered must be together; such tensors are square at most
    step = rows if tensor.heads else max(1, BLOCK_VALUES // length)
    for source in tensor.sources:
        for first in range(0, rows, step):
            count = min(step, rows - first)
            is_last = source == tensor.sources[-1] and first + count == rows
            is_first = source == tensor.sources[0] and first == 0
            yield _Block(number, tensor, source, first, count, is_first, is_last)


def _read_ahead(
    checkpoint: Checkpoint, blocks: Iterator[_Block]
) -> Iterator[tuple[_Block, NDArray[np.float32]]]:
    """Each block with its rows; the next is read while the caller works on this one."""
    with ThreadPoolExecutor(1) as reader:
        ahead: tuple[_Block, Future[NDArray[np.float32]]] | None = None
        for block in blocks:
            current, ahead = ahead, (block, reader.submit(_read, checkpoint, block))
            if current is not None:
                yield current[0], current[1].result()
        if ahead is not None:
            yield ahead[0], ahead[1].result()


def _read(checkpoint: Checkpoint, block: _Block) -> NDArray[np.float32]:
    rows = checkpoint.read_rows(block.source, block.first_row, block.rows)
    if block.tensor.heads is None:
        return rows
    return _interleaved(rows.reshape(block.tensor.shape), block.tensor.heads).reshape(rows.shape)


def _interleaved(tensor: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """A matrix or bias whose rotary halves are made neighbours, head by head.

    Source: LlamaModel.permute in llama.cpp's conversion/llama.py.
    """
    halves = tensor.reshape(heads, 2, -1, *tensor.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(tensor.shape)
