"""Tiny checkpoints with random weights, in folders that transformers loads as they are.

    make_checkpoint(folder, "mixtral")              one of CASES
    make_checkpoint(folder, "mistral", hidden=256, feed_forward=512, shards=3, dtype="BF16")

Written without torch and without gritlite, so that tests of both may use them.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.tiny_tokenizers import write_byte_level, write_sentencepiece

Tensors = dict[str, NDArray[np.float32]]

# name: (model type, what its config.json says besides dimensions)
CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "mistral": ("mistral", {"sliding_window": 4096, "rope_theta": 10000.0}),
    "mixtral": (
        "mixtral",
        {"num_local_experts": 4, "num_experts_per_tok": 2, "rope_theta": 1e6},
    ),
    "llama-tied": (
        "llama",
        {
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        },
    ),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True, "rope_theta": 10000.0}),
    "llama-head-dim": ("llama", {"head_dim": 32, "rope_theta": 10000.0}),
    "llama-linear": (
        "llama",
        {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    ),
    "llama-llama3": (
        "llama",
        {
            "rope_theta": 500000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "llama-yarn": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "attention_factor": 1.3,
            },
        },
    ),
    "qwen2": ("qwen2", {"rope_theta": 1e6, "tie_word_embeddings": False}),
    "qwen2-yarn": (
        "qwen2",
        {
            "rope_theta": 1e6,
            "rope_scaling": {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
}
# the tokenizer that models of the type have
TOKENIZERS = {
    "mistral": "sentencepiece",
    "mixtral": "sentencepiece-json",
    "llama": "smollm",
    "qwen2": "qwen2",
}
VOCABULARY = 496  # a little more than any of the tokenizers, as real models have it
# the matrices of a dense block, as transformers and as GGUF call them
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def make_checkpoint(
    folder: Path,
    case: str = "mistral",
    *,
    hidden: int = 64,
    feed_forward: int = 96,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    context: int = 1024,
    tokenizer: str | None = None,
    shards: int = 1,
    dtype: str = "F32",
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write a checkpoint folder of one of CASES and return it.

    `tokenizer` is "sentencepiece" (tokenizer.model and .json), "sentencepiece-model",
    "sentencepiece-json" or one of BYTE_LEVEL_KINDS; `dtype` F32, F16 or BF16;
    `config` overrides fields of config.json. For k-quants choose `hidden` and
    `feed_forward` as multiples of 256.
    """
    model_type, particulars = CASES[case]
    folder.mkdir(parents=True, exist_ok=True)
    full_config = {
        "architectures": [f"{model_type.capitalize()}ForCausalLM"],
        "model_type": model_type,
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
        **particulars,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(full_config, indent=2), "utf-8")
    write_tokenizer(folder, tokenizer or TOKENIZERS[model_type])
    write_tensors(folder, dict(random_tensors(full_config, seed)), shards=shards, dtype=dtype)
    return folder


def make_trainable(folder: Path) -> Path:
    """Write a tiny Llama to train: its template is GritLM's own, which ends answers."""
    make_checkpoint(folder, "llama-tied")
    (folder / "chat_template.jinja").unlink()
    return folder


def write_tokenizer(folder: Path, kind: str) -> None:
    """The tokenizer's files; `kind` as for `make_checkpoint`."""
    if kind.startswith("sentencepiece"):
        write_sentencepiece(
            folder,
            model=kind != "sentencepiece-json",
            json_file=kind != "sentencepiece-model",
        )
    else:
        write_byte_level(folder, kind)


def random_tensors(
    config: Mapping[str, Any], seed: int = 0
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The checkpoint's tensors, scaled so that activations keep their size."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        values = random.standard_normal((rows, columns), dtype=np.float32)
        return values / np.float32(np.sqrt(columns))

    def vector(size: int, mean: float) -> NDArray[np.float32]:
        return np.float32(mean) + np.float32(0.2) * random.standard_normal(size, dtype=np.float32)

    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries = config["num_attention_heads"] * head_dim
    keys = config["num_key_value_heads"] * head_dim
    biases = "qkv" if config["model_type"] == "qwen2" else ""
    if config.get("attention_bias"):
        biases = "qkvo"

    yield "model.embed_tokens.weight", matrix(config["vocab_size"], hidden) * np.float32(8)
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}."
        yield block + "input_layernorm.weight", vector(hidden, 1)
        yield block + "post_attention_layernorm.weight", vector(hidden, 1)
        rows = {"q": queries, "k": keys, "v": keys, "o": hidden}
        for letter, size in rows.items():
            columns = queries if letter == "o" else hidden
            yield f"{block}self_attn.{letter}_proj.weight", matrix(size, columns)
            if letter in biases:
                yield f"{block}self_attn.{letter}_proj.bias", vector(size, 0)
        if config["model_type"] == "mixtral":
            experts = config["num_local_experts"]
            yield block + "block_sparse_moe.gate.weight", matrix(experts, hidden)
            for expert in range(experts):
                name = f"{block}block_sparse_moe.experts.{expert}."
                yield name + "w1.weight", matrix(inner, hidden)
                yield name + "w2.weight", matrix(hidden, inner)
                yield name + "w3.weight", matrix(inner, hidden)
            continue
        for part, (size, columns) in {
            "gate": (inner, hidden),
            "up": (inner, hidden),
            "down": (hidden, inner),
        }.items():
            yield f"{block}mlp.{part}_proj.weight", matrix(size, columns)
            if config.get("mlp_bias"):
                yield f"{block}mlp.{part}_proj.bias", vector(size, 0)
    yield "model.norm.weight", vector(hidden, 1)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", matrix(config["vocab_size"], hidden)


def write_tensors(folder: Path, tensors: Tensors, *, shards: int = 1, dtype: str = "F32") -> None:
    """model.safetensors, or `shards` files and their index."""
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors, dtype))
        return
    weight_map = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {key: tensors[key] for key in list(tensors)[shard::shards]}
        weight_map.update(dict.fromkeys(part, name))
        (folder / name).write_bytes(safetensors_bytes(part, dtype))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def safetensors_bytes(tensors: Tensors, dtype: str = "F32") -> bytes:
    """A safetensors file, by its format (github.com/huggingface/safetensors).

    float32 tensors are stored as `dtype`, int32 and float16 ones as they are.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        used = {np.int32: "I32", np.float16: "F16"}.get(tensor.dtype.type, dtype)
        stored = _stored(tensor, used)
        header[name] = {
            "dtype": used,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(stored)],
        }
        data += stored
    return pack_safetensors(header, data)


def pack_safetensors(header: Any, data: bytes) -> bytes:
    """A file of a header, right or wrong, and data."""
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def _stored(tensor: NDArray[np.float32], dtype: str) -> bytes:
    if dtype == "BF16":
        return (np.ascontiguousarray(tensor).view(np.uint32) >> 16).astype("<u2").tobytes()
    return tensor.astype({"F32": "<f4", "F16": "<f2", "I32": "<i4"}[dtype]).tobytes()
