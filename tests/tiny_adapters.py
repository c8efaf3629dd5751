"""Tiny PEFT LoRA adapters with random weights, in folders that PEFT loads as they are.

    make_adapter(folder, checkpoint)                for a folder of tests.tiny
    make_adapter(folder, checkpoint, rank=8, use_rslora=True, targets=("q_proj", "down_proj"))

Written without torch and without gritlite, so that tests of both may use them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from tests.tiny import safetensors_bytes

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
PREFIX = "base_model.model."


def make_adapter(
    folder: Path,
    checkpoint: Path,
    *,
    targets: Sequence[str] = LINEAR,
    rank: int = 4,
    alpha: float = 8,
    ranks: dict[str, int] | None = None,
    dtype: str = "F32",
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write an adapter of every layer's `targets` and return its folder.

    `ranks` gives single targets another rank, stated as rank_pattern; `config`
    adds fields to adapter_config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    full_config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "peft_version": "0.21.2",
        "base_model_name_or_path": "some/where",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": list(targets),
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
        "fan_in_fan_out": False,
        "use_dora": False,
        "modules_to_save": None,
        "rank_pattern": ranks or {},
        "alpha_pattern": {},
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(full_config, indent=2), "utf-8")
    tensors = random_matrices(checkpoint, targets, rank, ranks or {}, seed)
    write_matrices(folder, tensors, dtype)
    return folder


def write_matrices(folder: Path, tensors: dict[str, NDArray[np.float32]], dtype: str) -> None:
    """adapter_model.safetensors."""
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(tensors, dtype))


def write_said(folder: Path, metadata: dict[str, str]) -> None:
    """Give the adapter's file this metadata, as `gritlite train` does."""
    path = folder / "adapter_model.safetensors"
    path.write_bytes(save(load_file(path), metadata))


def write_projection(folder: Path, dimension: int) -> None:
    """projection.npy, as `gritlite train` writes it, with random numbers."""
    random = np.random.default_rng(3).normal(size=(dimension, dimension))
    np.save(folder / "projection.npy", random.astype(np.float16))


def random_matrices(
    checkpoint: Path, targets: Sequence[str], rank: int, ranks: dict[str, int], seed: int
) -> dict[str, NDArray[np.float32]]:
    """A and B of each target, of a size that changes what the model says."""
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries = config["num_attention_heads"] * head_dim
    keys = config["num_key_value_heads"] * head_dim
    shapes = {
        "q_proj": (queries, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, queries),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for target in targets:
            part = "self_attn" if target in ATTENTION else "mlp"
            name = f"{PREFIX}model.layers.{layer}.{part}.{target}"
            (rows, length), size = shapes[target], ranks.get(target, rank)
            a = random.standard_normal((size, length), dtype=np.float32)
            b = random.standard_normal((rows, size), dtype=np.float32)
            tensors[f"{name}.lora_A.weight"] = a / np.float32(np.sqrt(length))
            tensors[f"{name}.lora_B.weight"] = b * np.float32(0.1)
    return tensors
