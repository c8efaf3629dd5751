"""Read and check config.json, with the same fields for all model types.

The module does not know GGUF keys (`metadata`) or tensors (`architectures`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gritlite.convert.json_files import read_json_object, shown
from gritlite.convert.rope import Rope, read_rope
from gritlite.errors import ArchitectureError, FileError


@dataclass(frozen=True)
class ModelType:
    """llama.cpp's name for a model type of transformers, and transformers' defaults for it.

    `attention_biases` names the projections that always have a bias.
    """

    architecture: str
    default_theta: float
    attention_biases: tuple[str, ...] = ()


MAX_LAYERS, MAX_EXPERTS = 512, 1024  # llama.cpp's (llama-hparams.h)
MODEL_TYPES: Mapping[str, ModelType] = MappingProxyType(
    {
        "llama": ModelType("llama", 10_000.0),
        "mistral": ModelType("llama", 10_000.0),
        "mixtral": ModelType("llama", 1_000_000.0),
        "qwen2": ModelType("qwen2", 10_000.0, ("q", "k", "v")),
    }
)


@dataclass(frozen=True)
class ModelConfig:
    """A model's dimensions and constants.

    `head_dim` is always set; `has_explicit_head_dim` says whether config.json gives it.
    `experts` is 0 for a dense model. `attention_biases` names the projections (q, k, v,
    o) with a bias; `mlp_bias` tells whether gate, up and down have one. `raw` is the
    parsed JSON. `sliding_window` is how many tokens a token attends to, itself included,
    None where that is all of them.
    """

    model_type: str
    architecture: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    has_explicit_head_dim: bool
    vocabulary: int
    context: int
    rms_epsilon: float
    rope: Rope
    tied: bool
    experts: int
    experts_used: int
    attention_biases: tuple[str, ...]
    mlp_bias: bool
    sliding_window: int | None
    raw: Mapping[str, Any]


def read_config(folder: Path) -> ModelConfig:
    """Read the config of a checkpoint folder.

    Raises FileError if it is missing, FormatError if it is not JSON, and
    ArchitectureError if the model type is not supported or a value is invalid.
    """
    path = folder / "config.json"
    if not path.exists():
        raise FileError(f"{folder} has no config.json: name the folder of a Hugging Face model")
    raw = read_json_object(path)
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
        raise ArchitectureError(
            f"{path}: model type {shown(model_type)} is not supported; use one of "
            f"{', '.join(MODEL_TYPES)}"
        )
    _refuse_variants(path, raw)
    fields = _Fields(path, raw)
    kind = MODEL_TYPES[model_type]
    hidden, heads = fields.count("hidden_size"), fields.count("num_attention_heads")
    context = fields.count("max_position_embeddings")
    is_mixture = model_type == "mixtral"
    config = ModelConfig(
        model_type=model_type,
        architecture=kind.architecture,
        layers=fields.count("num_hidden_layers", most=MAX_LAYERS),
        hidden=hidden,
        feed_forward=fields.count("intermediate_size"),
        heads=heads,
        kv_heads=fields.count("num_key_value_heads", heads),
        head_dim=fields.count("head_dim", hidden // heads),
        has_explicit_head_dim=raw.get("head_dim") is not None,
        vocabulary=fields.count("vocab_size"),
        context=context,
        rms_epsilon=fields.positive("rms_norm_eps"),
        rope=read_rope(raw, kind.default_theta, context),
        tied=fields.flag("tie_word_embeddings"),
        experts=fields.count("num_local_experts", most=MAX_EXPERTS) if is_mixture else 0,
        experts_used=fields.count("num_experts_per_tok") if is_mixture else 0,
        attention_biases=_attention_biases(model_type, fields),
        mlp_bias=model_type == "llama" and fields.flag("mlp_bias"),
        sliding_window=_sliding_window(model_type, fields, context),
        raw=MappingProxyType(raw),
    )
    _check_heads(path, config)
    return config


def _refuse_variants(path: Path, raw: Mapping[str, Any]) -> None:
    if raw.get("hidden_act", "silu") != "silu":
        raise ArchitectureError(
            f"{path}: activation {shown(raw['hidden_act'])} is not supported, only silu"
        )


def _attention_biases(model_type: str, fields: "_Fields") -> tuple[str, ...]:
    if model_type == "llama" and fields.flag("attention_bias"):
        return ("q", "k", "v", "o")
    return MODEL_TYPES[model_type].attention_biases


def _sliding_window(model_type: str, fields: "_Fields", context: int) -> int | None:
    """Return the window of the layers that have one, None if it is no shorter than the context.

    Source: transformers' configuration_mistral.py, _mixtral.py and _qwen2.py.
    """
    layer_types = fields.layer_types()
    if layer_types is not None and "sliding_attention" not in layer_types:
        return None
    window: int | None = None
    if model_type in ("mistral", "mixtral"):
        default = 4096 if model_type == "mistral" else None
        stated = fields.value("sliding_window", default)
        window = None if stated is None else fields.count("sliding_window", default)
    if model_type == "qwen2" and fields.flag("use_sliding_window"):
        first = fields.count("max_window_layers", 28, least=0)
        if layer_types is not None or first < fields.count("num_hidden_layers"):
            window = fields.count("sliding_window", 4096)
    return window if window is not None and window < context else None


def _check_heads(path: Path, config: ModelConfig) -> None:
    if config.heads % config.kv_heads:
        raise ArchitectureError(
            f"{path}: {config.heads} heads cannot share {config.kv_heads} key-value heads"
        )
    if config.head_dim % 2:
        raise ArchitectureError(f"{path}: head_dim is {config.head_dim}, but rope needs it even")
    if config.experts_used > config.experts:
        raise ArchitectureError(
            f"{path}: num_experts_per_tok is {config.experts_used}, but there are only "
            f"{config.experts} experts"
        )


class _Fields:
    """Typed access to config.json; every error names the file and the field."""

    def __init__(self, path: Path, raw: Mapping[str, Any]) -> None:
        self._path = path
        self._raw = raw

    def value(self, key: str, default: Any = None) -> Any:
        """The value as it stands; `default` only if the key is absent, not if it is null."""
        return self._raw.get(key, default)

    def layer_types(self) -> list[Any] | None:
        value = self._raw.get("layer_types")
        if value is not None and not isinstance(value, list):
            raise ArchitectureError(f"{self._path}: layer_types is {shown(value)}, not a list")
        return value

    def count(
        self, key: str, default: int | None = None, *, least: int = 1, most: int = 2**31 - 1
    ) -> int:
        value = self._raw.get(key)
        if value is None:
            value = default
        if type(value) is not int or not least <= value <= most:
            raise ArchitectureError(
                f"{self._path}: {key} is {shown(value)}, not a whole number from {least} to "
                f"{most:,}"
            )
        return value

    def positive(self, key: str) -> float:
        value = self._raw.get(key)
        if value is None or type(value) not in (int, float) or not 0 < value < 1:
            raise ArchitectureError(f"{self._path}: {key} is {shown(value)}, not between 0 and 1")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self._raw.get(key)
        if value is not None and type(value) is not bool:
            raise ArchitectureError(f"{self._path}: {key} is {shown(value)}, not true or false")
        return bool(value)
