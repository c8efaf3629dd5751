"""What a GGUF file's layers are: dimensions, rotary embedding and tensors.

The module knows the architectures that gritlite converts, and refuses everything else by
name. It reads no
matrices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gritlite.errors import ArchitectureError
from gritlite.graph.rotary import Rotary, read_rotary
from gritlite.graph.tensors import Tensors, open_tensors
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import Hyperparameters, read_hyperparameters

# architecture: whether the two numbers that a rotation turns are neighbours (ggml's
# GGML_ROPE_TYPE_NORMAL) or half a head apart (GGML_ROPE_TYPE_NEOX); llama_model_rope_type
INTERLEAVED = {"llama": True, "qwen2": False}
ROPE_FACTORS = "rope_freqs.weight"
_OUTSIDE = ("token_embd.weight", "output.weight", ROPE_FACTORS)  # not of the layers


@dataclass(frozen=True)
class Network:
    """The layers of a model, which are all alike.

    `experts` is 0 for a dense model. `biases` are the layer tensors with a bias, such as
    "attn_q". `epsilon` is added to the mean square in RMSNorm.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    experts: int
    experts_used: int
    epsilon: float
    rotary: Rotary
    biases: frozenset[str]

    @property
    def kv_width(self) -> int:
        """The length of a token's keys, of all heads together."""
        return self.kv_heads * self.head_width


def network_of(file: GGUFFile) -> Network:
    """Read the description of the layers of a closed file. Raises FileError too."""
    with open_tensors(file) as tensors:
        return read_network(tensors)


def read_network(tensors: Tensors) -> Network:
    """Read the description of a file's layers.

    Raises ArchitectureError, with the reason, for layers that no graph is written for.
    """
    file = tensors.file
    sizes = read_hyperparameters(file)
    if sizes.architecture not in INTERLEAVED:
        raise ArchitectureError(
            f"{file.path}: no graph is written for the architecture {sizes.architecture!r}, only "
            f"for {' and '.join(INTERLEAVED)}: use the engine llama"
        )
    for problem in _problems(sizes):
        raise ArchitectureError(f"{file.path}: {problem}: use the engine llama")
    factors = tensors.floats(ROPE_FACTORS) if ROPE_FACTORS in tensors else None
    network = Network(
        layers=sizes.layers,
        width=sizes.width,
        heads=sizes.heads[0],
        kv_heads=sizes.kv_heads[0],
        head_width=sizes.key_width,
        feed_forward=sizes.feed_forward[0],
        experts=sizes.experts,
        experts_used=sizes.experts_used,
        epsilon=_epsilon(file, sizes.architecture),
        rotary=read_rotary(file, sizes, factors, is_interleaved=INTERLEAVED[sizes.architecture]),
        biases=_biases(file),
    )
    unknown = {tensor.name for tensor in file.tensors} - set(_tensor_names(network))
    if unknown:
        raise ArchitectureError(
            f"{file.path}: no graph is written for layers with the tensor {min(unknown)!r}: use "
            "the engine llama"
        )
    return network


def _problems(sizes: Hyperparameters) -> Iterator[str]:
    for name, numbers in (
        ("heads", sizes.heads),
        ("key-value heads", sizes.kv_heads),
        ("feed-forward width", sizes.feed_forward),
    ):
        if len(set(numbers)) > 1:
            yield f"no graph is written for layers that differ in their {name}"
    if sizes.value_width != sizes.key_width:
        yield "no graph is written for values of another width than the keys"
    if sizes.rope_width != sizes.key_width:
        yield "no graph is written for a rotary embedding of a part of a head"


def _epsilon(file: GGUFFile, architecture: str) -> float:
    key = f"{architecture}.attention.layer_norm_rms_epsilon"
    value = file.metadata.get(key)
    if not isinstance(value, float):
        raise ArchitectureError(f"{file.path}: the metadata key {key} is missing or not a number")
    return value


def _biases(file: GGUFFile) -> frozenset[str]:
    suffix = ".bias"
    names = (tensor.name for tensor in file.tensors if tensor.name.endswith(suffix))
    return frozenset(name.removesuffix(suffix).split(".")[-1] for name in names)


def _tensor_names(network: Network) -> Iterator[str]:
    yield from _OUTSIDE
    yield "output_norm.weight"
    matrices = ["attn_q", "attn_k", "attn_v", "attn_output"]
    if network.experts:
        matrices += ["ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"]
    else:
        matrices += ["ffn_gate", "ffn_up", "ffn_down"]
    for layer in range(network.layers):
        for name in ("attn_norm", "ffn_norm", *matrices):
            yield f"blk.{layer}.{name}.weight"
        for name in network.biases.intersection(matrices):
            yield f"blk.{layer}.{name}.bias"
