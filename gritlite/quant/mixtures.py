"""llama.cpp's own mixtures of types as they would stand in a file, and how large they are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gguf.constants import GGMLQuantizationType

from gritlite.modelfile.header import GGUFFile, TensorInfo
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.quant.type_selection import ModelSpec, TensorSpec, is_quantizable, select_types
from gritlite.quant.types import TARGETS, needs_imatrix, row_bytes

_SMALLEST_BLOCK = 32  # values: rows that are no multiple stay in floats

Types = Mapping[str, GGMLQuantizationType]


@dataclass(frozen=True)
class Mixture:
    """The types that a target gives to the tensors that can be quantized, in so many bytes."""

    target: str
    types: Types
    bytes: int


def quantizable(file: GGUFFile) -> list[TensorInfo]:
    """The tensors of a file that llama.cpp would quantize, and whose rows are whole blocks."""
    return [
        info
        for info in file.tensors
        if is_quantizable(TensorSpec(info.name, info.shape))
        and info.shape[-1] % _SMALLEST_BLOCK == 0
    ]


def tensor_bytes(file: GGUFFile, info: TensorInfo, type: GGMLQuantizationType) -> int:
    """What a tensor takes in `type`, aligned as in `file`."""
    size = info.elements // info.shape[-1] * row_bytes(type, info.shape[-1])
    return -(-size // file.alignment) * file.alignment


def mixtures(file: GGUFFile, weighed: Collection[str]) -> list[Mixture]:
    """All that can be made with importances of the tensors `weighed`, which may be none.

    Raises ArchitectureError as `select_types`.
    """
    facts = [TensorSpec(info.name, info.shape) for info in file.tensors]
    model = ModelSpec.of(read_hyperparameters(file))
    found = []
    for target in TARGETS.values():
        if not target.quantized:
            continue
        choices = select_types(facts, model, target, has_imatrix=bool(weighed))
        types = {info.name: choices[info.name].type for info in quantizable(file)}
        if all(name in weighed or not needs_imatrix(type) for name, type in types.items()):
            sizes = (tensor_bytes(file, info, types[info.name]) for info in quantizable(file))
            found.append(Mixture(target.name, types, sum(sizes)))
    return found
