"""Tiny GGUF files with random weights, as input for llama.cpp's quantizer.

Every matrix has only `rows` rows: the quantizer looks at names, metadata and
row lengths, not at whether the matrices fit together, so many layers stay cheap.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType, quants

from gritlite.quant.type_selection import ModelSpec, TensorSpec


@dataclass(frozen=True)
class TinyModel:
    """The shape of a model, as a config.json would have it."""

    arch: str = "llama"
    n_layer: int = 8
    n_head: int = 4
    n_head_kv: int = 4
    n_expert: int = 0
    tied: bool = False
    n_embd: int = 256
    n_ff: int = 512
    rows: int = 2

    @property
    def facts(self) -> ModelSpec:
        return ModelSpec(self.arch, self.n_layer, self.n_head, self.n_head_kv, self.n_expert)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and numpy shape of every tensor."""
        shapes: dict[str, tuple[int, ...]] = {
            "token_embd.weight": (self.rows, self.n_embd),
            "output_norm.weight": (self.n_embd,),
        }
        if not self.tied:
            shapes["output.weight"] = (self.rows, self.n_embd)
        for layer in range(self.n_layer):
            shapes |= {f"blk.{layer}.{name}": s for name, s in self._layer_shapes.items()}
        return shapes

    @property
    def _layer_shapes(self) -> dict[str, tuple[int, ...]]:
        matrix, down = (self.rows, self.n_embd), (self.rows, self.n_ff)
        shapes: dict[str, tuple[int, ...]] = {
            "attn_norm.weight": (self.n_embd,),
            "ffn_norm.weight": (self.n_embd,),
        }
        shapes |= {f"attn_{part}.weight": matrix for part in ("q", "k", "v", "output")}
        if self.arch == "qwen2":
            shapes |= {f"attn_{part}.bias": (self.n_embd,) for part in "qkv"}
        if not self.n_expert:
            return shapes | {
                "ffn_gate.weight": matrix,
                "ffn_up.weight": matrix,
                "ffn_down.weight": down,
            }
        return shapes | {
            "ffn_gate_inp.weight": (self.n_expert, self.n_embd),
            "ffn_gate_exps.weight": (self.n_expert, *matrix),
            "ffn_up_exps.weight": (self.n_expert, *matrix),
            "ffn_down_exps.weight": (self.n_expert, *down),
        }


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a GGUF file stores it."""

    type: GGMLQuantizationType
    data: bytes


def random_weights(model: TinyModel, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal weights with outliers, tiny values and blocks of zeros, as real ones have."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in model.shapes.items():
        values = random.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
        values[..., :: random.integers(20, 60)] *= 30
        values[..., 1 :: random.integers(5, 9)] *= 1e-6
        if random.random() < 0.2:
            values[..., :32] = 0
        weights[name] = values
    return weights


def write_gguf(
    path: Path,
    model: TinyModel,
    weights: dict[str, np.ndarray],
    type: GGMLQuantizationType = GGMLQuantizationType.F32,
) -> list[TensorSpec]:
    """Write `weights` with every matrix in `type` and the rest in float32, in a shuffled order.

    Returns the facts of the tensors as written.
    """
    writer = GGUFWriter(path, model.arch)
    writer.add_file_type(LlamaFileType.ALL_F32)
    writer.add_context_length(64)
    writer.add_embedding_length(model.n_embd)
    writer.add_block_count(model.n_layer)
    writer.add_feed_forward_length(model.n_ff)
    writer.add_head_count(model.n_head)
    writer.add_head_count_kv(model.n_head_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(model.rows)
    if model.n_expert:
        writer.add_expert_count(model.n_expert)
        writer.add_expert_used_count(2)
    facts = []
    for name in np.random.default_rng(1).permutation(list(weights)):
        values = weights[name]
        used = type if values.ndim > 1 else GGMLQuantizationType.F32
        facts.append(TensorSpec(str(name), values.shape, unquantized_type=used))
        writer.add_tensor(str(name), quants.quantize(values, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return facts


def read_gguf(path: Path) -> tuple[int, dict[str, StoredTensor]]:
    """`general.file_type`, and the tensors by name."""
    reader = GGUFReader(path)
    field = reader.get_field("general.file_type")
    assert field is not None
    return int(field.contents()), {
        tensor.name: StoredTensor(tensor.tensor_type, tensor.data.tobytes())
        for tensor in reader.tensors
    }
