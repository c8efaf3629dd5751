"""The target types a model can be converted to, as a table, and the sizes of their blocks.

A target is what a user asks for (`q4_k_m`); `type_selection` derives each tensor's
quantization type from it. The module does not know tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from gritlite.errors import UsageError


@dataclass(frozen=True)
class Target:
    """A file type of llama.cpp.

    `file_type` is the value of the metadata key `general.file_type` (llama.h's enum
    llama_ftype); `default_type` is the type of every tensor without a special rule.
    """

    name: str
    file_type: int
    default_type: GGMLQuantizationType
    description: str

    @property
    def quantized(self) -> bool:
        """Whether tensors are stored in blocks with shared scales."""
        return block_size(self.default_type) > 1

    @property
    def needs_imatrix(self) -> bool:
        """Whether it can only be made with an importance matrix."""
        return needs_imatrix(self.default_type)


def block_size(type: GGMLQuantizationType) -> int:
    """Return the values per block of `type`; rows must be a multiple of it."""
    return int(GGML_QUANT_SIZES[type][0])


def block_bytes(type: GGMLQuantizationType) -> int:
    """Return the bytes per block of `type`."""
    return int(GGML_QUANT_SIZES[type][1])


def needs_imatrix(type: GGMLQuantizationType) -> bool:
    """Return whether rows of `type` are garbage without an importance matrix."""
    return type in _NEED_IMATRIX


def row_bytes(type: GGMLQuantizationType, row_length: int) -> int:
    """Return the bytes of a row of `row_length` values in `type`.

    Raises UsageError if the row is not a whole number of blocks.
    """
    values, size = GGML_QUANT_SIZES[type]
    if row_length % values:
        raise UsageError(
            f"rows of {row_length} values do not fit {type.name}, which stores blocks of {values}: "
            "choose another type"
        )
    return int(row_length // values * size)


_Q = GGMLQuantizationType
_F = LlamaFileType

# tensor_requires_imatrix of src/llama-quant.cpp
_NEED_IMATRIX = frozenset(
    {_Q.IQ3_XXS, _Q.IQ2_XXS, _Q.IQ2_XS, _Q.IQ2_S, _Q.IQ1_M, _Q.IQ1_S},
)

TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        target.name: target
        for target in (
            Target("f32", _F.ALL_F32, _Q.F32, "32-bit floats, nothing rounded"),
            Target("f16", _F.MOSTLY_F16, _Q.F16, "16-bit IEEE floats"),
            Target("bf16", _F.MOSTLY_BF16, _Q.BF16, "16-bit brain floats, as most checkpoints"),
            Target("q8_0", _F.MOSTLY_Q8_0, _Q.Q8_0, "8.5 bits per weight, near lossless"),
            Target("q6_k", _F.MOSTLY_Q6_K, _Q.Q6_K, "6.6 bits per weight"),
            Target("q5_k_m", _F.MOSTLY_Q5_K_M, _Q.Q5_K, "about 5.7 bits per weight, mixed"),
            Target("q4_k_m", _F.MOSTLY_Q4_K_M, _Q.Q4_K, "about 4.8 bits per weight, mixed"),
            Target("q4_0", _F.MOSTLY_Q4_0, _Q.Q4_0, "4.5 bits per weight, the fastest blocks"),
            Target("q4_1", _F.MOSTLY_Q4_1, _Q.Q4_1, "5 bits per weight, blocks with an offset"),
            Target("iq4_xs", _F.MOSTLY_IQ4_XS, _Q.IQ4_XS, "about 4.3 bits per weight, non-linear"),
            Target("q3_k_m", _F.MOSTLY_Q3_K_M, _Q.Q3_K, "about 3.9 bits per weight, mixed"),
            Target("q2_k", _F.MOSTLY_Q2_K, _Q.Q2_K, "about 3 bits per weight, mixed"),
            Target("iq3_xxs", _F.MOSTLY_IQ3_XXS, _Q.IQ3_XXS, "about 3.1 bits per weight"),
            Target("iq2_m", _F.MOSTLY_IQ2_M, _Q.IQ2_S, "about 2.7 bits per weight"),
            Target("iq2_s", _F.MOSTLY_IQ2_S, _Q.IQ2_XS, "about 2.5 bits per weight"),
            Target("iq2_xs", _F.MOSTLY_IQ2_XS, _Q.IQ2_XS, "about 2.4 bits per weight"),
            Target("iq2_xxs", _F.MOSTLY_IQ2_XXS, _Q.IQ2_XXS, "about 2.1 bits per weight"),
            Target("iq1_m", _F.MOSTLY_IQ1_M, _Q.IQ1_M, "about 1.8 bits per weight"),
            Target("iq1_s", _F.MOSTLY_IQ1_S, _Q.IQ1_S, "about 1.6 bits per weight, the smallest"),
        )
    }
)
