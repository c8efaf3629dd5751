"""A model becomes one GGUF file of the wanted type, tensor by tensor.

Rows are read, widened, adapted, quantized and written in blocks, so that memory
does not grow with the model, and no intermediate file is needed. What goes where
is decided before the first byte is written. The module does not know how a model
is stored (`source`).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.convert.adapter import Adapter, open_adapter
from gritlite.convert.source import ModelSource, SourceTensor
from gritlite.convert.source_loader import open_model_source
from gritlite.convert.tensor_importance import TensorImportance
from gritlite.errors import FormatError, RequantizationError, UsageError
from gritlite.modelfile.header_writer import TensorFormat, encode_header, padding
from gritlite.quant.imatrix import read_imatrix
from gritlite.quant.rows import dequantize_rows, quantize_rows
from gritlite.quant.type_selection import SelectedType, TensorSpec, select_types
from gritlite.quant.types import TARGETS, Target, block_size
from gritlite.system.files import atomic_write, check_output

_KEPT_TARGET = "q4_0"  # what a file of GPTQ weights is
BLOCK_VALUES = 1 << 24  # 64 MiB of float32: long enough for all threads, small beside a model


@dataclass(frozen=True)
class ConversionProgress:
    """How far a conversion is. `bytes` are those of the source's tensors."""

    tensor: str
    tensors_done: int
    tensors_total: int
    bytes_done: int
    bytes_total: int


@dataclass(frozen=True)
class ConversionReport:
    """What was written.

    `fallbacks` says, per tensor, why it has not the type asked for. `requantized`
    counts the tensors that were quantized in the source and have been again, which
    rounds them twice. `without_importance` names those that the importance matrix lacks.
    """

    output: Path
    bytes: int
    tensors: int
    fallbacks: tuple[str, ...]
    requantized: int
    without_importance: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Job:
    """Everything decided before writing."""

    source: ModelSource
    adapter: Adapter | None
    importance: TensorImportance
    choices: Mapping[str, SelectedType]
    threads: int

    def is_copied(self, tensor: SourceTensor) -> bool:
        """Whether its bytes are the source's: quantizing again would only lose."""
        if self.adapter and tensor.name in self.adapter:
            return False
        return block_size(tensor.type) > 1 and self.choices[tensor.name].type == tensor.type

    def is_requantized(self, tensor: SourceTensor) -> bool:
        """Whether it is rounded a second time."""
        wanted = self.choices[tensor.name].type
        return tensor.was_quantized and block_size(wanted) > 1 and not self.is_copied(tensor)


@dataclass(frozen=True)
class _Block:
    """Some rows of a tensor, from one of its parts and one of its matrices."""

    tensor: SourceTensor
    first_row: int
    rows: int


def convert(
    source: Path,
    output: Path,
    target: str | None,
    *,
    adapter: Path | None = None,
    imatrix: Path | None = None,
    types: Mapping[str, GGMLQuantizationType] | None = None,
    requantize: bool = False,
    force: bool = False,
    threads: int | None = None,
    on_progress: Callable[[ConversionProgress], None] | None = None,
) -> ConversionReport:
    """Write the model `source` as the GGUF file `output`, of type `target`.

    `source` is a Hugging Face checkpoint's folder or a GGUF file; `target` is a
    key of gritlite.quant.types.TARGETS, or None for a source of GPTQ weights, all
    of which are then kept as they are. `adapter` is the folder of a PEFT LoRA
    adapter to merge into the weights. `imatrix` is an importance matrix of the
    model, in llama.cpp's format: what its passes use most is rounded best. `types`
    are those of single tensors, in the place of `target`'s choices. A source whose
    quantized tensors would be rounded twice is refused without `requantize`, unless an
    adapter is merged: its weights may have been trained beside those.
    An `output` that exists is replaced only with `force`. `threads` is the number
    of processors to use, all by default. `on_progress` is called after each block
    of rows, from the calling thread.

    Raises UsageError for an unknown target or one that needs an importance matrix,
    RequantizationError for a source that is refused, FileError if something cannot be
    read or written, OutputExistsError, FormatError for damaged files, ArchitectureError
    and TokenizerError for models that cannot be carried over.
    """
    if target is not None and target not in TARGETS:
        raise UsageError(f"type {target!r} is not known; known are {', '.join(TARGETS)}")
    check_output(output, force=force)
    if target is not None and TARGETS[target].needs_imatrix and imatrix is None:
        raise UsageError(
            f"{target} needs an importance matrix: make one with  gritlite calibrate  and name it"
        )
    matrix = read_imatrix(imatrix) if imatrix else None
    with (
        open_model_source(source) as model,
        open_adapter(adapter, model) if adapter else nullcontext() as opened,
    ):
        if target is None:
            target, types = _KEPT_TARGET, _kept_types(model)
        choices = _choose(model, TARGETS[target], has_imatrix=matrix is not None)
        choices |= {name: SelectedType(type) for name, type in (types or {}).items()}
        importance = TensorImportance(imatrix, matrix, model.tensors, choices)
        job = _Job(model, opened, importance, choices, threads or os.cpu_count() or 1)
        requantized = sum(map(job.is_requantized, model.tensors))
        if requantized and not (requantize or adapter):
            raise RequantizationError(
                f"{source} is quantized already: {requantized} of its tensors would be rounded "
                "twice; use its f32, f16 or bf16 weights, or allow requantization"
            )
        header = _header(job, TARGETS[target])
        with atomic_write(output, force=force) as file:
            file.write(header)
            _write_tensors(job, file, on_progress or (lambda _: None))
            size = file.tell()
    return ConversionReport(
        output=output,
        bytes=size,
        tensors=len(model.tensors),
        fallbacks=tuple(choice.fallback for choice in job.choices.values() if choice.fallback),
        requantized=requantized,
        without_importance=importance.missing,
    )


def _kept_types(source: ModelSource) -> Mapping[str, GGMLQuantizationType]:
    """The types of a source whose weights are kept. Raises RequantizationError if there is none."""
    if not source.lossless_types:
        raise RequantizationError(
            f"{source.path} has weights that GGUF has no type for (it has one for GPTQ with 4 "
            "bits, symmetric, without activation order): name a type to round them to, and allow "
            "requantization"
        )
    return source.lossless_types


def _choose(source: ModelSource, target: Target, *, has_imatrix: bool) -> dict[str, SelectedType]:
    facts = [TensorSpec(tensor.name, tensor.shape, tensor.type) for tensor in source.tensors]
    return select_types(facts, source.spec, target, has_imatrix=has_imatrix)


def _header(job: _Job, target: Target) -> bytes:
    formats = [
        TensorFormat(tensor.name, tensor.shape, job.choices[tensor.name].type)
        for tensor in job.source.tensors
    ]
    keys = job.source.keys(target, job.importance.metadata)
    return encode_header(keys, formats, job.source.alignment)


def _write_tensors(
    job: _Job, file: BinaryIO, on_progress: Callable[[ConversionProgress], None]
) -> None:
    tensors = job.source.tensors
    finished, bytes_finished = 0, 0
    bytes_total = sum(tensor.stored_bytes for tensor in tensors)
    for block, rows in _read_ahead(job):
        file.write(_encoded(job, block, rows).data)
        tensor, end = block.tensor, block.first_row + block.rows
        bytes_done = bytes_finished + tensor.stored_bytes * end // tensor.rows
        if end == tensor.rows:
            file.write(bytes(padding(file.tell(), job.source.alignment)))
            finished, bytes_finished = finished + 1, bytes_done
        on_progress(
            ConversionProgress(tensor.name, finished, len(tensors), bytes_done, bytes_total)
        )


def _encoded(job: _Job, block: _Block, rows: NDArray[Any]) -> NDArray[np.uint8]:
    if job.is_copied(block.tensor):
        return rows
    importance = job.importance.of(block.tensor, block.first_row)
    try:
        return quantize_rows(rows, job.choices[block.tensor.name].type, job.threads, importance)
    except FormatError as error:
        # the row is counted within the block
        part, row = divmod(block.first_row, block.tensor.part_rows)
        place = f"{job.source.path}: {block.tensor.parts[part]!r} from row {row}"
        raise FormatError(f"{place}: {error}: the model is damaged") from error


def _read_ahead(job: _Job) -> Iterator[tuple[_Block, NDArray[Any]]]:
    """Each block with its rows; the next is read while the caller works on this one."""
    with ThreadPoolExecutor(1) as reader:
        ahead: tuple[_Block, Future[NDArray[Any]]] | None = None
        for block in _blocks(job.source):
            current, ahead = ahead, (block, reader.submit(_read, job, block))
            if current is not None:
                yield current[0], current[1].result()
        if ahead is not None:
            yield ahead[0], ahead[1].result()


def _blocks(source: ModelSource) -> Iterator[_Block]:
    """The tensors' rows in the order of the file."""
    for tensor in source.tensors:
        groups = BLOCK_VALUES // (tensor.shape[-1] * tensor.row_group)
        step = max(1, groups) * tensor.row_group
        piece = min(tensor.part_rows, tensor.matrix_rows)
        for start in range(0, tensor.rows, piece):
            for first in range(start, start + piece, step):
                yield _Block(tensor, first, min(step, start + piece - first))


def _read(job: _Job, block: _Block) -> NDArray[Any]:
    """The block's rows as float32, or, where they are copied, as they are stored."""
    stored = job.source.read_rows(block.tensor, block.first_row, block.rows)
    if job.is_copied(block.tensor):
        return stored
    rows = dequantize_rows(stored, block.tensor.type)
    if job.adapter and block.tensor.name in job.adapter:
        job.adapter.read(block.tensor.name).add_to(rows, block.first_row)
    return rows
