"""llama.cpp's own mixtures of types for the tensors of a file, and their sizes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gguf.constants import GGMLQuantizationType

from gritlite.modelfile.header import GGUFFile, TensorInfo
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.quant.type_selection import ModelSpec, TensorSpec, is_quantizable, select_types
from gritlite.quant.types import TARGETS, needs_imatrix, row_bytes

_SMALLEST_BLOCK = 32  # values; rows that are not a multiple stay floats

Types = Mapping[str, GGMLQuantizationType]


@dataclass(frozen=True)
class Mixture:
    """The types that a target gives to the quantizable tensors, and their `bytes` in all."""

    target: str
    types: Types
    bytes: int


def quantizable(file: GGUFFile) -> list[TensorInfo]:
    """Return the tensors that llama.cpp would quantize and whose rows are whole blocks."""
    return [
        info
        for info in file.tensors
        if is_quantizable(TensorSpec(info.name, info.shape))
        and info.shape[-1] % _SMALLEST_BLOCK == 0
    ]


def tensor_bytes(file: GGUFFile, info: TensorInfo, type: GGMLQuantizationType) -> int:
    """Return the bytes of a tensor in `type`, padded to the alignment of `file`."""
    size = info.elements // info.shape[-1] * row_bytes(type, info.shape[-1])
    return -(-size // file.alignment) * file.alignment


def mixtures(file: GGUFFile, with_importance: Collection[str]) -> list[Mixture]:
    """Return the mixtures that can be made if the tensors `with_importance` have an importance.

    Raises ArchitectureError like `select_types`.
    """
    specs = [TensorSpec(info.name, info.shape) for info in file.tensors]
    model = ModelSpec.of(read_hyperparameters(file))
    found = []
    for target in TARGETS.values():
        if not target.quantized:
            continue
        selected = select_types(specs, model, target, has_imatrix=bool(with_importance))
        types = {info.name: selected[info.name].type for info in quantizable(file)}
        if all(name in with_importance or not needs_imatrix(type) for name, type in types.items()):
            sizes = (tensor_bytes(file, info, types[info.name]) for info in quantizable(file))
            found.append(Mixture(target.name, types, sum(sizes)))
    return found
