"""Convert a model to one GGUF file of a given type, tensor by tensor.

Rows are read, dequantized, adapted, quantized and written in blocks, so memory use
does not grow with the model and no intermediate file is needed. Everything is
decided before the first byte is written. The module does not know how a model is
stored (`source` does).
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.convert.adapter import Adapter, open_adapter
from gritlite.convert.for_embedding import LEFT_OUT, embedding_keys, keys_to_take_back
from gritlite.convert.source import ModelSource, SourceTensor
from gritlite.convert.source_loader import open_model_source
from gritlite.convert.tensor_importance import TensorImportance
from gritlite.errors import FormatError, RequantizationError, UsageError
from gritlite.modelfile.header_writer import MetadataValue, TensorFormat, encode_header, padding
from gritlite.prompt import ATTENTION_KEY, PROJECTION_KEY, SIZES_KEY, TRAINED_KEY, encode_projection
from gritlite.quant.imatrix import read_imatrix
from gritlite.quant.rows import check_rows, dequantize_rows, quantize_rows
from gritlite.quant.type_selection import SelectedType, TensorSpec, select_types
from gritlite.quant.types import TARGETS, Target, block_size
from gritlite.system.files import atomic_write, check_output

_GPTQ_TARGET = "q4_0"  # the file type of losslessly converted GPTQ weights
_PROJECTION_LEFT_OUT = (
    "llama.cpp does not know projections, so the file is without the model's, and its vectors are "
    "others than the model's own: keep the source"
)
_PROJECTION_DROPPED = (
    "the base's projection is left out: it was found for the base's vectors, and the adapter was "
    "trained to embed without one"
)
BLOCK_VALUES = 1 << 24  # 64 MiB of float32: enough for all threads, small beside a model

_ProgressCallback = Callable[["ConversionProgress"], None]


@dataclass(frozen=True)
class ConversionProgress:
    """How far a conversion is. `bytes_done` and `bytes_total` count the source's tensor bytes."""

    tensor: str
    tensors_done: int
    tensors_total: int
    bytes_done: int
    bytes_total: int


@dataclass(frozen=True)
class ConversionReport:
    """What was written: the file, its size in bytes and its number of tensors.

    `fallbacks` says which tensors could not get the type asked for, a message per reason.
    `requantized` counts the tensors that were quantized in the source and again here,
    which rounds them twice. `without_importance` names the tensors that were quantized
    without an importance because the matrix does not have them. `for_both_tasks` says that
    the source was for embedding only and the output is not. `notices` says what else a
    person should know about the model.
    """

    output: Path
    bytes: int
    tensors: int
    fallbacks: tuple[str, ...]
    requantized: int
    without_importance: tuple[str, ...] = ()
    for_both_tasks: bool = False
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """Everything that is decided before writing."""

    source: ModelSource
    adapter: Adapter | None
    target: Target
    types: Mapping[str, SelectedType]
    importance: TensorImportance
    declared: Mapping[str, MetadataValue]
    threads: int
    for_embedding: bool | None

    def is_copied(self, tensor: SourceTensor) -> bool:
        """Whether its blocks are copied: quantizing them again would only lose precision."""
        if self.adapter and tensor.name in self.adapter:
            return False
        return block_size(tensor.type) > 1 and self.types[tensor.name].type == tensor.type

    def is_requantized(self, tensor: SourceTensor) -> bool:
        """Whether it is rounded a second time."""
        is_quantized = block_size(self.types[tensor.name].type) > 1
        return tensor.was_quantized and is_quantized and not self.is_copied(tensor)

    @property
    def keys_taken_back(self) -> Collection[str]:
        """The metadata keys by which the source is for embedding only, and the output is not."""
        return keys_to_take_back(self.source) if self.for_embedding is False else ()

    @property
    def removed_keys(self) -> Collection[str]:
        """The metadata keys of the source that the output shall not have."""
        if self.for_embedding:
            return LEFT_OUT
        dropped = (PROJECTION_KEY,) if self.drops_projection else ()
        return (*self.keys_taken_back, *dropped)

    @property
    def drops_projection(self) -> bool:
        """Whether the source has a projection that the adapter's vectors were not trained with."""
        return (
            self.source.embed_format.projection is not None
            and self.adapter is not None
            and self.adapter.is_trained_to_embed
            and self.adapter.projection is None
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about the model."""
        projections = [
            self.source.embed_format.projection,
            self.adapter and self.adapter.projection,
        ]
        if self.for_embedding and any(one is not None for one in projections):
            return (*self.source.notices, _PROJECTION_LEFT_OUT)
        dropped = (_PROJECTION_DROPPED,) if self.drops_projection else ()
        return (*self.source.notices, *dropped)

    @property
    def requantized(self) -> int:
        """The number of tensors that are rounded a second time."""
        return sum(map(self.is_requantized, self.source.tensors))


@dataclass(frozen=True)
class _RowBlock:
    """Consecutive rows of a tensor, all from one of its parts and one of its matrices."""

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
    for_embedding: bool | None = None,
    trained_to_embed: bool = False,
    force: bool = False,
    threads: int | None = None,
    on_progress: Callable[[ConversionProgress], None] | None = None,
) -> ConversionReport:
    """Write the model `source` as the GGUF file `output`, of type `target`.

    `source` is a Hugging Face checkpoint folder or a GGUF file. `target` is a key of
    gritlite.quant.types.TARGETS, or None to keep a source's GPTQ weights exactly.
    `adapter` is the folder of a PEFT LoRA adapter to merge into the weights. `imatrix`
    is an importance matrix of the model in llama.cpp's format. `types` overrides the
    target's type for single tensors. A source whose quantized tensors would be rounded
    twice needs `requantize`, unless an adapter is merged, which may have been trained
    on just those weights. `for_embedding` writes a file that llama.cpp embeds with, and
    does not generate from; False takes that back, None keeps what the source is.
    `trained_to_embed` declares that the model, with its adapter, was trained to embed, for a
    source that does not say so itself. An existing `output` is replaced only with `force`.
    `threads` is the number of CPU threads, by default all. `on_progress` is called after
    each block of rows, from the calling thread.

    Raises UsageError for an unknown target, one that needs an importance matrix, or None where
    no weights are quantized, RequantizationError, FileError if something cannot be read or written,
    OutputExistsError, FormatError for damaged files, and ArchitectureError or
    TokenizerError for models that cannot be converted.
    """
    _check_arguments(target, imatrix)
    check_output(output, force=force)
    matrix = read_imatrix(imatrix) if imatrix else None
    with (
        open_model_source(source) as model,
        open_adapter(adapter, model) if adapter else nullcontext() as opened,
    ):
        if target is None:
            target, types = _GPTQ_TARGET, _lossless_types(model)
        selected = _select_types(model, TARGETS[target], types, has_imatrix=matrix is not None)
        importance = TensorImportance(imatrix, matrix, model.tensors, selected)
        declared = _declared(opened, trained_to_embed)
        cores = threads or os.cpu_count() or 1
        plan = _Plan(
            model, opened, TARGETS[target], selected, importance, declared, cores, for_embedding
        )
        _check_requantization(plan, allowed=requantize)
        size = _write(plan, output, force, on_progress or (lambda _: None))
    return _report(plan, output, size)


def _check_arguments(target: str | None, imatrix: Path | None) -> None:
    if target is None:
        return
    if target not in TARGETS:
        raise UsageError(f"type {target!r} is not known; known are {', '.join(TARGETS)}")
    if TARGETS[target].needs_imatrix and imatrix is None:
        raise UsageError(
            f"{target} needs an importance matrix: make one with  gritlite calibrate  and name it"
        )


def _lossless_types(source: ModelSource) -> Mapping[str, GGMLQuantizationType]:
    """Return the types that keep a GPTQ source's weights exactly."""
    if not any(tensor.was_quantized for tensor in source.tensors):
        raise UsageError(
            f"{source.path} has no quantized weights to keep: name a type, such as f16 or q8_0"
        )
    if not source.lossless_types:
        raise RequantizationError(
            f"{source.path} has weights that no GGUF type holds exactly (Q4_0 holds 4-bit "
            "symmetric GPTQ without activation order): name a type to round them to, and allow "
            "requantization"
        )
    return source.lossless_types


def _declared(adapter: Adapter | None, trained_to_embed: bool) -> Mapping[str, MetadataValue]:
    """Return the metadata that the caller or the adapter adds to the source's."""
    is_trained = trained_to_embed or (adapter is not None and adapter.is_trained_to_embed)
    keys: dict[str, MetadataValue] = {TRAINED_KEY: True} if is_trained else {}
    if adapter and adapter.attention:
        keys[ATTENTION_KEY] = adapter.attention
    if adapter and adapter.sizes:
        keys[SIZES_KEY] = adapter.sizes
    if adapter and adapter.projection is not None:
        keys[PROJECTION_KEY] = encode_projection(adapter.projection)
    return keys


def _select_types(
    source: ModelSource,
    target: Target,
    overrides: Mapping[str, GGMLQuantizationType] | None,
    *,
    has_imatrix: bool,
) -> dict[str, SelectedType]:
    specs = [TensorSpec(tensor.name, tensor.shape, tensor.type) for tensor in source.tensors]
    selected = select_types(specs, source.spec, target, has_imatrix=has_imatrix)
    return selected | {name: SelectedType(type) for name, type in (overrides or {}).items()}


def _check_requantization(plan: _Plan, *, allowed: bool) -> None:
    if plan.requantized and not (allowed or plan.adapter):
        raise RequantizationError(
            f"{plan.source.path} is quantized already: {plan.requantized} of its tensors would be "
            "rounded twice; use its f32, f16 or bf16 weights, or allow requantization"
        )


def _write(plan: _Plan, output: Path, force: bool, on_progress: _ProgressCallback) -> int:
    """Write the file and return its size in bytes."""
    header = _header(plan)
    with atomic_write(output, force=force) as file:
        file.write(header)
        _write_tensors(plan, file, on_progress)
        return file.tell()


def _report(plan: _Plan, output: Path, size: int) -> ConversionReport:
    return ConversionReport(
        output=output,
        bytes=size,
        tensors=len(plan.source.tensors),
        fallbacks=_fallbacks(plan.types),
        requantized=plan.requantized,
        without_importance=plan.importance.missing,
        for_both_tasks=bool(plan.keys_taken_back),
        notices=plan.notices,
    )


def _fallbacks(types: Mapping[str, SelectedType]) -> tuple[str, ...]:
    tensors: dict[str, list[str]] = {}
    for name, selected in types.items():
        if selected.fallback:
            tensors.setdefault(selected.fallback, []).append(name)
    messages = []
    for reason, names in tensors.items():
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        messages.append(f"{', '.join(names[:3])}{more}: {reason}")
    return tuple(messages)


def _header(plan: _Plan) -> bytes:
    formats = [
        TensorFormat(tensor.name, tensor.shape, plan.types[tensor.name].type)
        for tensor in plan.source.tensors
    ]
    added = {**plan.importance.metadata, **plan.declared}
    if plan.for_embedding:
        attention = str(added.get(ATTENTION_KEY, plan.source.embed_format.attention))
        added = {**added, **embedding_keys(plan.source, attention)}
    removed = plan.removed_keys
    kept = {key: value for key, value in added.items() if key not in removed}
    metadata = plan.source.metadata(plan.target, kept, removed)
    return encode_header(metadata, formats, plan.source.alignment)


def _write_tensors(plan: _Plan, file: BinaryIO, on_progress: _ProgressCallback) -> None:
    tensors = plan.source.tensors
    finished, bytes_finished = 0, 0
    bytes_total = sum(tensor.stored_bytes for tensor in tensors)
    for block, rows in _read_ahead(plan):
        file.write(_quantized(plan, block, rows).data)
        tensor, end = block.tensor, block.first_row + block.rows
        bytes_done = bytes_finished + tensor.stored_bytes * end // tensor.rows
        if end == tensor.rows:
            file.write(bytes(padding(file.tell(), plan.source.alignment)))
            finished, bytes_finished = finished + 1, bytes_done
        on_progress(
            ConversionProgress(tensor.name, finished, len(tensors), bytes_done, bytes_total)
        )


def _quantized(plan: _Plan, block: _RowBlock, rows: NDArray[Any]) -> NDArray[np.uint8]:
    type = plan.types[block.tensor.name].type
    try:
        if plan.is_copied(block.tensor):
            check_rows(rows, type, plan.threads)
            return rows
        importance = plan.importance.of(block.tensor, block.first_row)
        return quantize_rows(rows, type, plan.threads, importance)
    except FormatError as error:
        # the error counts rows from the start of the block
        part, row = divmod(block.first_row, block.tensor.part_rows)
        location = f"{plan.source.path}: {block.tensor.parts[part]!r} from row {row}"
        is_adapted = plan.adapter and block.tensor.name in plan.adapter
        cause = "the model or its adapter" if is_adapted else "the model"
        raise FormatError(f"{location}: {error}: {cause} is damaged") from error


def _read_ahead(plan: _Plan) -> Iterator[tuple[_RowBlock, NDArray[Any]]]:
    """Yield each block with its rows, reading the next while the caller works on this one."""
    with ThreadPoolExecutor(1) as reader:
        ahead: tuple[_RowBlock, Future[NDArray[Any]]] | None = None
        for block in _row_blocks(plan.source):
            current, ahead = ahead, (block, reader.submit(_read_rows, plan, block))
            if current is not None:
                yield current[0], current[1].result()
        if ahead is not None:
            yield ahead[0], ahead[1].result()


def _row_blocks(source: ModelSource) -> Iterator[_RowBlock]:
    """Yield the tensors' rows in the order of the file."""
    for tensor in source.tensors:
        groups = BLOCK_VALUES // (tensor.shape[-1] * tensor.row_group)
        step = max(1, groups) * tensor.row_group
        piece = min(tensor.part_rows, tensor.matrix_rows)
        for start in range(0, tensor.rows, piece):
            for first in range(start, start + piece, step):
                yield _RowBlock(tensor, first, min(step, start + piece - first))


def _read_rows(plan: _Plan, block: _RowBlock) -> NDArray[Any]:
    """Read a block's rows: as stored if they are copied, else as float32."""
    stored = plan.source.read_rows(block.tensor, block.first_row, block.rows)
    if plan.is_copied(block.tensor):
        return stored
    with np.errstate(invalid="ignore"):  # the result is checked
        rows = dequantize_rows(stored, block.tensor.type)
    if plan.adapter and block.tensor.name in plan.adapter:
        with np.errstate(over="ignore", invalid="ignore"):  # the result is checked
            plan.adapter.update(block.tensor.name).add_to(rows, block.first_row)
    return rows
