"""A checkpoint folder that is not whole, or does not fit its config, is refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gritlite.convert import convert
from gritlite.convert.checkpoint import Checkpoint
from gritlite.errors import ArchitectureError, FileError, FormatError, GritLiteError
from tests.tiny import make_checkpoint, random_tensors, safetensors_bytes, write_tensors

INDEX = "model.safetensors.index.json"
FIRST = "model-00001-of-00002.safetensors"
SECOND = "model-00002-of-00002.safetensors"


@pytest.fixture
def single(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "model")


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "model", shards=2)


def refused(folder: Path, error: type[GritLiteError]) -> str:
    """The message with which a folder is refused; there must be no output."""
    output = folder.parent / "model.gguf"
    with pytest.raises(error) as caught:
        convert(folder, output, "q8_0")
    assert not output.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tensors_of(folder: Path) -> dict[str, np.ndarray]:
    return dict(random_tensors(json.loads((folder / "config.json").read_text())))


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_config(folder: Path, **changes: Any) -> None:
    edit_json(folder / "config.json", **changes)


# The folder


def test_source_is_neither_a_folder_nor_gguf(single: Path) -> None:
    assert "not a GGUF file" in refused(single / "config.json", FormatError)
    assert "nothing does not exist" in refused(single.parent / "nothing", FileError)


def test_no_config(single: Path) -> None:
    (single / "config.json").unlink()
    assert "config.json" in refused(single, FileError)


def test_no_weights(single: Path) -> None:
    (single / "model.safetensors").unlink()
    assert "neither model.safetensors" in refused(single, FileError)


def test_only_pytorch_weights(single: Path) -> None:
    (single / "model.safetensors").rename(single / "pytorch_model.bin")
    assert "save_pretrained" in refused(single, FileError)


def test_no_tokenizer(single: Path) -> None:
    (single / "tokenizer.model").unlink()
    (single / "tokenizer.json").unlink()
    assert "neither tokenizer.model nor tokenizer.json" in refused(single, FileError)


# Shards


def test_shard_missing(sharded: Path) -> None:
    (sharded / SECOND).unlink()
    assert f"{SECOND} is missing" in refused(sharded, FormatError)


def test_tensor_missing_in_its_shard(sharded: Path) -> None:
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"]["model.extra.weight"] = FIRST
    (sharded / INDEX).write_text(json.dumps(index))
    message = refused(sharded, FormatError)
    assert FIRST in message
    assert "lacks 'model.extra.weight', which" in message


def test_tensor_not_in_the_index(sharded: Path) -> None:
    """transformers takes every tensor of the files that the index names."""
    index = json.loads((sharded / INDEX).read_text())
    del index["weight_map"]["model.norm.weight"]
    (sharded / INDEX).write_text(json.dumps(index))
    assert "model.norm.weight" in Checkpoint(sharded).tensors


def test_tensor_in_two_shards(sharded: Path) -> None:
    (sharded / SECOND).write_bytes((sharded / FIRST).read_bytes())
    assert "is in both" in refused(sharded, FormatError)


@pytest.mark.parametrize("weight_map", [None, [], {"a": 3}, {"a": "../a.safetensors"}])
def test_index_that_names_no_files(weight_map: Any, sharded: Path) -> None:
    edit_json(sharded / INDEX, weight_map=weight_map)
    assert "weight_map" in refused(sharded, FormatError)


def test_truncated_shard(sharded: Path) -> None:
    data = (sharded / FIRST).read_bytes()
    (sharded / FIRST).write_bytes(data[:-1])
    assert f"{FIRST} is truncated" in refused(sharded, FormatError)


# Tensors against the config


def test_tensor_missing(single: Path) -> None:
    tensors = tensors_of(single)
    del tensors["model.layers.1.self_attn.v_proj.weight"]
    write_tensors(single, tensors)
    assert "lacks 'model.layers.1.self_attn.v_proj.weight'" in refused(single, ArchitectureError)


def test_tensor_unknown(single: Path) -> None:
    tensors = {**tensors_of(single), "score.weight": np.ones((2, 64), np.float32)}
    write_tensors(single, tensors)
    assert "'score.weight', which a mistral model" in refused(single, ArchitectureError)


def test_more_layers_than_the_config_says(single: Path) -> None:
    edit_config(single, num_hidden_layers=1)
    message = refused(single, ArchitectureError)
    assert "model.layers.1" in message
    assert "more tensors" in message


def test_tensor_of_another_shape(single: Path) -> None:
    edit_config(single, intermediate_size=128)
    message = refused(single, ArchitectureError)
    assert "'model.layers.0.mlp.gate_proj.weight' has shape [96, 64]" in message
    assert "[128, 64]" in message


def test_vocabulary_that_is_not_the_embedding_matrix(single: Path) -> None:
    edit_config(single, vocab_size=400)
    assert "[496, 64], but config.json implies [400, 64]" in refused(single, ArchitectureError)


def test_more_tokens_than_rows(single: Path) -> None:
    edit_config(single, vocab_size=400)
    write_tensors(single, tensors_of(single))
    message = refused(single, ArchitectureError)
    assert "480 tokens" in message
    assert "400 rows" in message


def test_old_rotary_buffers_are_left_out(single: Path) -> None:
    tensors = tensors_of(single)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(8, np.float32)
    write_tensors(single, tensors)
    convert(single, single.parent / "model.gguf", "f16")


def test_a_tied_output_may_be_stored_if_it_is_the_same(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", "llama-tied")
    convert(folder, tmp_path / "without.gguf", "f16")
    tensors = tensors_of(folder)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    write_tensors(folder, tensors)
    convert(folder, tmp_path / "with.gguf", "f16")
    assert (tmp_path / "with.gguf").read_bytes() == (tmp_path / "without.gguf").read_bytes()
    tensors["lm_head.weight"][3, 3] += 1
    write_tensors(folder, tensors)
    assert "tie_word_embeddings" in refused(folder, ArchitectureError)


# The config


def test_model_type_unknown(single: Path) -> None:
    edit_config(single, model_type="gpt_neox")
    message = refused(single, ArchitectureError)
    assert "'gpt_neox' is not supported; use one of llama, mistral, mixtral, qwen2" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": None},
        {"model_type": ["llama"]},
        {"hidden_size": None},
        {"hidden_size": "64"},
        {"num_hidden_layers": 0},
        {"num_attention_heads": -4},
        {"num_attention_heads": 128},
        {"num_key_value_heads": 3},
        {"head_dim": 15},
        {"rms_norm_eps": None},
        {"rms_norm_eps": 2},
        {"tie_word_embeddings": "no"},
        {"hidden_act": "gelu"},
        {"quantization_config": {"quant_method": "gptq"}},
        {"rope_theta": None, "rope_parameters": {"rope_theta": "big"}},
        {"rope_scaling": [1]},
        {"rope_scaling": {"rope_type": "longrope", "factor": 2.0}},
        {"rope_scaling": {"rope_type": "linear"}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0}},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "truncate": False}},
        {"partial_rotary_factor": 0.5},
    ],
)
def test_config_that_cannot_be_right(changes: dict[str, Any], single: Path) -> None:
    edit_config(single, **changes)
    assert "config.json" in refused(single, ArchitectureError)


def test_config_that_is_not_json(single: Path) -> None:
    for content in (b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000):
        (single / "config.json").write_bytes(content)
        assert "config.json" in refused(single, FormatError)


def test_mixture_that_uses_more_experts_than_it_has(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", "mixtral", num_experts_per_tok=5)
    assert "num_experts_per_tok is 5" in refused(folder, ArchitectureError)


def test_a_quantized_tensor_is_refused(single: Path) -> None:
    data = safetensors_bytes(tensors_of(single))
    (single / "model.safetensors").write_bytes(data.replace(b'"F32"', b'"I32"', 1))
    assert "as 'I32'" in refused(single, FormatError)
