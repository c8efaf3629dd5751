"""The tensors of each architecture: names in the checkpoint, names in GGUF, and shapes.

Source: llama.cpp's conversion/llama.py and conversion/qwen.py, and gguf's
tensor_mapping.py. The module does not know how tensors are stored.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gritlite.convert.config import ModelConfig
from gritlite.convert.json_files import shown
from gritlite.convert.rope_permutation import heads_to_permute
from gritlite.errors import ArchitectureError, FormatError


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
COMPUTED = re.compile(r"(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
HEAD = "lm_head.weight"
EMBEDDINGS = "embed_tokens.weight"

PROJECTIONS = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output"}
FEED_FORWARD = {"gate": "ffn_gate", "down": "ffn_down", "up": "ffn_up"}
EXPERTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}


def plan_tensors(
    config: ModelConfig,
    shapes: Mapping[str, tuple[int, ...]],
    absent: Mapping[str, Path] = MappingProxyType({}),
) -> tuple[PlannedTensor, ...]:
    """Return every tensor of the GGUF file, in the order they are written.

    `shapes` are those of the checkpoint's tensors, and `absent` the names that its index
    lists and no file has, with the file that should. The output matrix of a tied model is
    left out: transformers does not use it either. A checkpoint of the model without its head
    (transformers' AutoModel, which sentence-transformers saves) has names without "model.";
    an untied one then has no output matrix.

    Raises ArchitectureError, naming the tensors, if one is missing, is not part of
    this model type, or does not have the shape that config.json implies; FormatError if
    the index lists a tensor that no file has, unless it is redundant.
    """
    prefix = "" if EMBEDDINGS in shapes else "model."
    plan = tuple(_model(config, prefix, has_output=has_output(config, shapes)))
    needed = {source: tensor for tensor in plan for source in tensor.sources}
    missing = [name for name in needed if name not in shapes]
    kind = f"a {config.model_type} model of {config.layers} layers"
    lost = [name for name in absent if not _is_redundant(name, config)]
    if lost:
        raise FormatError(
            f"{absent[lost[0]]} lacks {_listed(lost)}, which the checkpoint's index lists: "
            "download the file again"
        )
    if missing:
        raise ArchitectureError(
            f"the checkpoint lacks {_listed(missing)}, which {kind} needs: is config.json that "
            "of these weights?"
        )
    unknown = [name for name in shapes if name not in needed and not _is_redundant(name, config)]
    if unknown:
        raise ArchitectureError(
            f"the checkpoint contains {_listed(unknown)}, which {kind} does not have"
        )
    for name, tensor in needed.items():
        if shapes[name] != tensor.source_shape:
            raise ArchitectureError(
                f"tensor {shown(name)} has shape {list(shapes[name])}, but config.json implies "
                f"{list(tensor.source_shape)}"
            )
    return plan


def has_output(config: ModelConfig, names: Collection[str]) -> bool:
    """Whether a checkpoint with these tensors has an output matrix of its own."""
    return not config.tied and (HEAD in names or EMBEDDINGS not in names)


def can_generate(config: ModelConfig, names: Collection[str]) -> bool:
    """Whether it has an output matrix, its own or the embeddings, to generate with."""
    return config.tied or has_output(config, names)


def _is_redundant(name: str, config: ModelConfig) -> bool:
    return COMPUTED.fullmatch(name) is not None or (config.tied and name == HEAD)


def _listed(names: list[str]) -> str:
    first = ", ".join(shown(name) for name in names[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more tensors"


def _model(config: ModelConfig, prefix: str, *, has_output: bool) -> Iterator[PlannedTensor]:
    matrix = (config.vocabulary, config.hidden)
    yield PlannedTensor("token_embd.weight", matrix, (prefix + EMBEDDINGS,))
    for layer in range(config.layers):
        source, target = f"{prefix}layers.{layer}.", f"blk.{layer}."
        yield _norm(config, source + "input_layernorm", target + "attn_norm")
        yield from _attention(config, source + "self_attn.", target)
        yield _norm(config, source + "post_attention_layernorm", target + "ffn_norm")
        if config.experts:
            yield from _experts(config, source + "block_sparse_moe.", target)
        else:
            yield from _feed_forward(config, source + "mlp.", target)
    yield _norm(config, prefix + "norm", "output_norm")
    if has_output:
        yield PlannedTensor("output.weight", matrix, (HEAD,))


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
