"""Select a quantization type for each tensor of a model, by llama.cpp's rules, as tables.

The mixed targets (`q4_k_m`, ...) give more bits to the tensors that lose most from
rounding. The rules are those of llama_model_quantize, with and without an importance
matrix, in src/llama-quant.cpp of the llama.cpp in llama-cpp-python 0.3.36 (commit
0c1e570), for the architectures gritlite writes; the tests compare the two. The
module does not know how a type stores its values.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from gguf.constants import GGMLQuantizationType

from gritlite.errors import ArchitectureError
from gritlite.modelfile.hyperparameters import Hyperparameters
from gritlite.quant.types import Target, block_size

_Q = GGMLQuantizationType


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model: its GGUF name, and its shape in numpy's order (..., row length).

    `unquantized_type` is the type it gets if it must not be quantized.
    """

    name: str
    shape: tuple[int, ...]
    unquantized_type: GGMLQuantizationType = _Q.F32


@dataclass(frozen=True)
class ModelSpec:
    """The hyperparameters that the rules depend on, named as in llama.cpp.

    `n_expert` is 0 for a dense model.
    """

    arch: str
    n_layer: int
    n_head: int
    n_head_kv: int
    n_expert: int = 0

    @classmethod
    def of(cls, model: Hyperparameters) -> "ModelSpec":
        """Take them from a GGUF file's hyperparameters."""
        return cls(
            model.architecture, model.layers, model.heads[0], model.kv_heads[0], model.experts
        )


@dataclass(frozen=True)
class SelectedType:
    """The type of a tensor; `fallback` says why it is not the type that the target's rules give.

    Tensors with the same reason have the same text.
    """

    type: GGMLQuantizationType
    fallback: str | None = None


def select_types(
    tensors: Sequence[TensorSpec],
    model: ModelSpec,
    target: Target,
    *,
    has_imatrix: bool = False,
) -> dict[str, SelectedType]:
    """Select the type of every tensor by name, in the order given.

    `tensors` must be all tensors of the model: without an `output.weight` the token
    embeddings count as the output. `has_imatrix` tells whether an importance matrix
    will be used, which changes some types.

    Raises ArchitectureError if there are no rules for `model.arch`, or if a tensor
    belongs to a layer that the model does not have.
    """
    if model.arch not in _ARCHITECTURES:
        raise ArchitectureError(
            f"no quantization rules for the architecture {model.arch!r}: "
            f"it must be one of {', '.join(_ARCHITECTURES)}"
        )
    for tensor in tensors:
        if _layer(tensor.name) >= model.n_layer:
            raise ArchitectureError(
                f"{tensor.name} is in no layer of the model, which has {model.n_layer}"
            )
    roles = {tensor.name: _role(tensor.name) for tensor in tensors}
    if _Role.OUTPUT not in roles.values():
        roles = {
            name: _Role.OUTPUT if role is _Role.TOKEN_EMBEDDING else role
            for name, role in roles.items()
        }
    selected = {}
    for tensor in tensors:
        layer = _Layer(_layer(tensor.name), model, has_imatrix)
        role = roles[tensor.name]
        preferred = _preferred_type(tensor, role, layer, target)
        selected[tensor.name] = _with_fallback(tensor, role, preferred, target)
    return selected


_ARCHITECTURES = ("llama", "qwen2")


# The roles of tensors


class _Role(Enum):
    OUTPUT = auto()
    TOKEN_EMBEDDING = auto()
    QUERY = auto()
    KEY = auto()
    VALUE = auto()
    ATTENTION_OUTPUT = auto()
    FFN_DOWN = auto()
    OTHER = auto()


_ROLES_BY_NAME = {"output.weight": _Role.OUTPUT, "token_embd.weight": _Role.TOKEN_EMBEDDING}
_ROLES_BY_PART = {
    "attn_q.weight": _Role.QUERY,
    "attn_k.weight": _Role.KEY,
    "attn_v.weight": _Role.VALUE,
    "attn_output.weight": _Role.ATTENTION_OUTPUT,
    "ffn_down": _Role.FFN_DOWN,
}


def _role(name: str) -> _Role:
    if name in _ROLES_BY_NAME:
        return _ROLES_BY_NAME[name]
    return next((role for part, role in _ROLES_BY_PART.items() if part in name), _Role.OTHER)


def is_quantizable(tensor: TensorSpec) -> bool:
    """Return whether llama.cpp quantizes it: matrices and stacked experts, not norms or routers."""
    rows = tensor.shape[:-1]
    return (
        any(size > 1 for size in rows)
        and tensor.name.endswith("weight")
        and not tensor.name.endswith(("_norm.weight", "ffn_gate_inp.weight"))
    )


# The rules of the mixed targets


@dataclass(frozen=True)
class _Layer:
    """Layer `index` of a model.

    llama.cpp numbers the tensors of a role from the first layer to the last. These
    architectures have one of each role per layer, so that number is the layer's index.
    """

    index: int
    model: ModelSpec
    has_imatrix: bool

    def is_in_first(self, divisor: int) -> bool:
        """Whether it is in the first 1/`divisor` of the layers, rounded down."""
        return self.index < self.model.n_layer // divisor

    @property
    def needs_more_bits(self) -> bool:
        """Whether it is in the first or last eighth, or every third layer in between."""
        return (
            self.is_in_first(8)
            or self.index >= 7 * self.model.n_layer // 8
            or (self.index - self.model.n_layer // 8) % 3 == 2
        )

    @property
    def heads_share_values(self) -> bool:
        """Whether at least four query heads share a value head, which makes its tensor small."""
        return self.model.n_head_kv > 0 and self.model.n_head // self.model.n_head_kv >= 4

    @property
    def has_small_values(self) -> bool:
        """Whether its value tensor is relatively small, by shared heads or beside experts."""
        return self.heads_share_values or self.model.n_expert >= 4


# None stands for the target's default type
_Rule = Callable[[_Layer], GGMLQuantizationType | None]


@dataclass(frozen=True)
class _Mixture:
    """Where a mixed target deviates from its default type."""

    value: _Rule
    ffn_down: _Rule
    attention_output: GGMLQuantizationType | None = None
    attention_output_of_8_experts: GGMLQuantizationType | None = None
    query_and_key: GGMLQuantizationType | None = None
    key_of_8_experts: GGMLQuantizationType = _Q.Q8_0
    value_of_8_experts: GGMLQuantizationType = _Q.Q8_0
    token_embedding: GGMLQuantizationType | None = None
    output: GGMLQuantizationType = _Q.Q6_K
    has_more_for_70b: bool = True  # for value tensors in 3 or 4 bits


def _more_bits(layer: _Layer) -> GGMLQuantizationType | None:
    return _Q.Q6_K if layer.needs_more_bits else None


def _below_3_bits(
    protected: GGMLQuantizationType, attention_output: GGMLQuantizationType | None
) -> _Mixture:
    """The mixtures of iq1_* and iq2_*: sensitive tensors get `protected`, small ones Q4_K."""
    return _Mixture(
        value=lambda layer: _Q.Q4_K if layer.has_small_values else protected,
        ffn_down=lambda layer: protected if layer.is_in_first(8) else None,
        attention_output=attention_output,
        attention_output_of_8_experts=_Q.Q5_K,
        key_of_8_experts=_Q.Q4_K,
        value_of_8_experts=_Q.Q4_K,
        token_embedding=protected,
        output=_Q.Q5_K,
        has_more_for_70b=False,
    )


_MIXTURES: Mapping[str, _Mixture] = {
    "q5_k_m": _Mixture(value=_more_bits, ffn_down=_more_bits),
    "q4_k_m": _Mixture(
        value=_more_bits,
        ffn_down=_more_bits,
        attention_output_of_8_experts=_Q.Q5_K,
    ),
    "iq4_xs": _Mixture(
        value=lambda layer: _Q.Q5_K if layer.heads_share_values else None,
        ffn_down=lambda layer: _Q.Q5_K if layer.is_in_first(8) and not layer.has_imatrix else None,
        attention_output_of_8_experts=_Q.Q5_K,
    ),
    "q4_0": _Mixture(
        value=lambda _: None,
        ffn_down=lambda layer: _Q.Q4_1 if layer.is_in_first(8) and layer.has_imatrix else None,
    ),
    "q3_k_m": _Mixture(
        value=lambda layer: _Q.Q5_K if layer.index < 2 else _Q.Q4_K,
        ffn_down=lambda layer: _Q.Q5_K if layer.is_in_first(16) else _Q.Q4_K,
        attention_output=_Q.Q4_K,
        attention_output_of_8_experts=_Q.Q5_K,
    ),
    "q2_k": _Mixture(
        value=lambda layer: _Q.Q4_K if layer.heads_share_values else _Q.Q3_K,
        ffn_down=lambda _: _Q.Q3_K,
        attention_output=_Q.Q3_K,
        attention_output_of_8_experts=_Q.Q5_K,
    ),
    "iq3_xxs": _Mixture(
        value=lambda layer: _Q.Q4_K if layer.heads_share_values else None,
        ffn_down=lambda _: None,
        attention_output=_Q.IQ3_S,
        attention_output_of_8_experts=_Q.Q5_K,
        query_and_key=_Q.IQ2_S,
        token_embedding=_Q.IQ3_S,
        output=_Q.Q5_K,
    ),
    "iq2_m": _below_3_bits(_Q.IQ3_S, attention_output=_Q.IQ3_S),
    "iq2_s": _below_3_bits(_Q.IQ3_S, attention_output=_Q.IQ3_S),
    "iq2_xs": _below_3_bits(_Q.Q2_K, attention_output=None),
    "iq2_xxs": _below_3_bits(_Q.Q2_K, attention_output=None),
    "iq1_m": _below_3_bits(_Q.Q2_K, attention_output=_Q.IQ2_XXS),
    "iq1_s": _below_3_bits(_Q.Q2_K, attention_output=_Q.IQ2_XXS),
}
_UNIFORM = _Mixture(value=lambda _: None, ffn_down=lambda _: None)


# Selection


def _preferred_type(
    tensor: TensorSpec, role: _Role, layer: _Layer, target: Target
) -> GGMLQuantizationType:
    """Return the type by the rules, whether or not the rows are whole blocks of it."""
    if not is_quantizable(tensor):
        return tensor.unquantized_type
    default = target.default_type
    if not target.quantized:
        return default
    mixture = _MIXTURES.get(target.name, _UNIFORM)
    has_8_experts = layer.model.n_expert == 8
    match role:
        case _Role.OUTPUT:
            return _Q.Q8_0 if default is _Q.Q8_0 else mixture.output
        case _Role.TOKEN_EMBEDDING:
            return mixture.token_embedding or default
        case _Role.VALUE if has_8_experts:
            return mixture.value_of_8_experts
        case _Role.VALUE:
            return _value_type(mixture.value(layer) or default, layer.model, mixture)
        case _Role.KEY if has_8_experts:
            return mixture.key_of_8_experts
        case _Role.QUERY | _Role.KEY:
            return mixture.query_and_key or default
        case _Role.ATTENTION_OUTPUT if has_8_experts:
            return mixture.attention_output_of_8_experts or default
        case _Role.ATTENTION_OUTPUT:
            return mixture.attention_output or default
        case _Role.FFN_DOWN:
            return mixture.ffn_down(layer) or default
        case _:
            return default


def _layer(name: str) -> int:
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else -1


def _value_type(
    chosen: GGMLQuantizationType, model: ModelSpec, mixture: _Mixture
) -> GGMLQuantizationType:
    """Give the value tensors of 70B models, which are relatively small, more bits."""
    if _is_70b(model) and chosen in (_Q.Q3_K, _Q.Q4_K) and mixture.has_more_for_70b:
        return _Q.Q5_K
    return chosen


def _is_70b(model: ModelSpec) -> bool:
    return model.n_layer == 80 and (model.arch == "qwen2" or model.n_head != model.n_head_kv)


# Fallbacks for rows that are not whole blocks

_SMALLER_BLOCKS = {
    **dict.fromkeys(
        (_Q.IQ1_S, _Q.IQ1_M, _Q.IQ2_XXS, _Q.IQ2_XS, _Q.IQ2_S, _Q.IQ3_XXS, _Q.IQ3_S, _Q.IQ4_XS),
        _Q.IQ4_NL,
    ),
    _Q.Q2_K: _Q.Q4_0,
    _Q.Q3_K: _Q.Q4_0,
    _Q.Q4_K: _Q.Q5_0,
    _Q.Q5_K: _Q.Q5_1,
    _Q.Q6_K: _Q.Q8_0,
}


def _with_fallback(
    tensor: TensorSpec, role: _Role, preferred: GGMLQuantizationType, target: Target
) -> SelectedType:
    length = tensor.shape[-1] if tensor.shape else 1
    if length % block_size(preferred) == 0:
        return SelectedType(preferred)
    used = _Q.Q8_0 if role is _Role.OUTPUT else _SMALLER_BLOCKS.get(preferred, preferred)
    if length % block_size(used):
        used = _Q.F16
    rule = "" if preferred is target.default_type else f", which {target.name} has there"
    return SelectedType(
        used,
        f"{used.name} instead of {preferred.name}{rule}, because {preferred.name} packs "
        f"{block_size(preferred)} values at a time and the rows have {length}",
    )
