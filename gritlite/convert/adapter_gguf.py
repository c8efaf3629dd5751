"""Convert a PEFT LoRA adapter to a GGUF adapter, which llama.cpp applies to a loaded model.

Format: llama.cpp's convert_lora_to_gguf.py and src/llama-adapter.cpp.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from gritlite.convert.adapter import Adapter, LoraPair, open_adapter
from gritlite.convert.metadata import folder_name
from gritlite.convert.safetensors import TensorEntry
from gritlite.convert.source_loader import open_model_source
from gritlite.errors import FormatError
from gritlite.modelfile.header import DEFAULT_ALIGNMENT
from gritlite.modelfile.header_writer import TensorFormat, encode_header, encode_metadata, padding
from gritlite.quant.rows import quantize_rows
from gritlite.system.files import atomic_write, check_output


def write_adapter(adapter: Path, base: Path, output: Path, *, force: bool = False) -> None:
    """Write the PEFT adapter in the folder `adapter` as the GGUF adapter `output`.

    `base` is the model it was trained for: a Hugging Face folder or a GGUF file of any
    type. Matrices stored as f16 stay f16, others become f32. An existing `output` is
    replaced only with `force`.

    Raises what `open_model_source` and `open_adapter` raise, OutputExistsError, and
    FileError if the output cannot be written.
    """
    check_output(output, force=force)
    with open_model_source(base) as model, open_adapter(adapter, model) as opened:
        # a GGUF adapter has one alpha for all tensors
        alpha = next(iter(opened.pairs.values())).alpha
        keys = encode_metadata(
            {
                "general.architecture": model.spec.arch,
                "general.type": "adapter",
                "general.name": folder_name(adapter),
                "adapter.type": "lora",
                "adapter.lora.alpha": alpha,
            }
        )
        formats = [
            format for name, pair in opened.pairs.items() for format in _formats(name, pair, alpha)
        ]
        with atomic_write(output, force=force) as file:
            file.write(encode_header(keys, formats, DEFAULT_ALIGNMENT))
            for format, values in zip(formats, _values(opened, alpha), strict=True):
                try:
                    file.write(quantize_rows(values, format.type, threads=1).data)
                except FormatError as error:
                    raise FormatError(f"{adapter}: {format.name}: {error}") from error
                file.write(bytes(padding(file.tell(), DEFAULT_ALIGNMENT)))


def _formats(name: str, pair: LoraPair, alpha: float) -> Iterator[TensorFormat]:
    b_type = _type(pair.b) if pair.alpha == alpha else GGMLQuantizationType.F32
    yield TensorFormat(f"{name}.lora_a", pair.a.shape, _type(pair.a))
    yield TensorFormat(f"{name}.lora_b", pair.b.shape, b_type)


def _type(entry: TensorEntry) -> GGMLQuantizationType:
    return GGMLQuantizationType.F16 if entry.dtype == "F16" else GGMLQuantizationType.F32


def _values(adapter: Adapter, alpha: float) -> Iterator[NDArray[np.float32]]:
    """Yield each pair's matrices A and B, with B scaled to the common `alpha`."""
    for name, pair in adapter.pairs.items():
        update = adapter.update(name)
        yield update.a
        with np.errstate(over="ignore"):  # the result is checked
            scaled = update.b * np.float32(pair.alpha / alpha)
        yield scaled
