"""The tensors of each architecture: names in the checkpoint, names in GGUF, and shapes.

Source: llama.cpp's conversion/llama.py and conversion/qwen.py, and gguf's
tensor_mapping.py. The module does not know how tensors are stored.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gritlite.convert.config import ModelConfig
from gritlite.convert.rope_permutation import heads_to_permute
from gritlite.errors import ArchitectureError


@dataclass(frozen=True)
class PlannedTensor:
    """A GGUF tensor and the checkpoint tensors it is made of.

    `shape` is in numpy's order. `sources` is one checkpoint tensor, or one per expert
    to be stacked. If `heads` is set, the rows belong to that many heads and are permuted.
    """

    name: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    heads: int | None = None

    @property
    def source_shape(self) -> tuple[int, ...]:
        """The shape of each source."""
        return self.shape[1:] if len(self.shape) == 3 else self.shape


# computed from the config; old versions of transformers store it anyway
COMPUTED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")

PROJECTIONS = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output"}
FEED_FORWARD = {"gate": "ffn_gate", "down": "ffn_down", "up": "ffn_up"}
EXPERTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}


def plan_tensors(
    config: ModelConfig, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[PlannedTensor, ...]:
    """Return every tensor of the GGUF file, in the order they are written.

    `shapes` are those of the checkpoint's tensors. The output matrix of a tied model
    is left out: transformers does not use it either.

    Raises ArchitectureError, naming the tensors, if one is missing, is not part of
    this model type, or does not have the shape that config.json implies.
    """
    plan = tuple(_model(config))
    needed = {source: tensor for tensor in plan for source in tensor.sources}
    missing = [name for name in needed if name not in shapes]
    if missing:
        raise ArchitectureError(
            f"the checkpoint lacks {_listed(missing)}, which a {config.model_type} model "
            f"of {config.layers} layers needs: download it again"
        )
    unknown = [name for name in shapes if name not in needed and not _is_redundant(name, config)]
    if unknown:
        raise ArchitectureError(
            f"the checkpoint contains {_listed(unknown)}, which a {config.model_type} model "
            f"of {config.layers} layers does not have"
        )
    for name, tensor in needed.items():
        if shapes[name] != tensor.source_shape:
            raise ArchitectureError(
                f"tensor {name!r} has shape {list(shapes[name])}, but config.json implies "
                f"{list(tensor.source_shape)}"
            )
    return plan


def _is_redundant(name: str, config: ModelConfig) -> bool:
    return COMPUTED.fullmatch(name) is not None or (config.tied and name == "lm_head.weight")


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more tensors"


def _model(config: ModelConfig) -> Iterator[PlannedTensor]:
    matrix = (config.vocabulary, config.hidden)
    yield PlannedTensor("token_embd.weight", matrix, ("model.embed_tokens.weight",))
    for layer in range(config.layers):
        source, target = f"model.layers.{layer}.", f"blk.{layer}."
        yield _norm(config, source + "input_layernorm", target + "attn_norm")
        yield from _attention(config, source + "self_attn.", target)
        yield _norm(config, source + "post_attention_layernorm", target + "ffn_norm")
        if config.experts:
            yield from _experts(config, source + "block_sparse_moe.", target)
        else:
            yield from _feed_forward(config, source + "mlp.", target)
    yield _norm(config, "model.norm", "output_norm")
    if not config.tied:
        yield PlannedTensor("output.weight", matrix, ("lm_head.weight",))


def _norm(config: ModelConfig, source: str, target: str) -> PlannedTensor:
    return PlannedTensor(f"{target}.weight", (config.hidden,), (f"{source}.weight",))


def _attention(config: ModelConfig, source: str, target: str) -> Iterator[PlannedTensor]:
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes = {
        "q": (queries, config.hidden),
        "k": (keys, config.hidden),
        "v": (keys, config.hidden),
        "o": (config.hidden, queries),
    }
    for letter, name in PROJECTIONS.items():
        heads = heads_to_permute(name, config.architecture, config.heads, config.kv_heads)
        yield PlannedTensor(
            f"{target}{name}.weight",
            shapes[letter],
            (f"{source}{letter}_proj.weight",),
            heads,
        )
        if letter in config.attention_biases:
            yield PlannedTensor(
                f"{target}{name}.bias",
                shapes[letter][:1],
                (f"{source}{letter}_proj.bias",),
                heads,
            )


def _feed_forward(config: ModelConfig, source: str, target: str) -> Iterator[PlannedTensor]:
    for part, name in FEED_FORWARD.items():
        shape = _feed_forward_shape(config, part == "down")
        yield PlannedTensor(f"{target}{name}.weight", shape, (f"{source}{part}_proj.weight",))
        if config.mlp_bias:
            yield PlannedTensor(f"{target}{name}.bias", shape[:1], (f"{source}{part}_proj.bias",))


def _experts(config: ModelConfig, source: str, target: str) -> Iterator[PlannedTensor]:
    gate = (config.experts, config.hidden)
    yield PlannedTensor(f"{target}ffn_gate_inp.weight", gate, (f"{source}gate.weight",))
    for part, name in EXPERTS.items():
        sources = tuple(
            f"{source}experts.{expert}.{part}.weight" for expert in range(config.experts)
        )
        shape = (config.experts, *_feed_forward_shape(config, part == "w2"))
        yield PlannedTensor(f"{target}{name}.weight", shape, sources)


def _feed_forward_shape(config: ModelConfig, down: bool) -> tuple[int, int]:
    shape = (config.feed_forward, config.hidden)
    return shape[::-1] if down else shape
